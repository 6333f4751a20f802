%% stoa_peer.erl - the workloads of bench_runtime in Erlang/OTP, for bench/runtime/peer.h.
%%
%% Written as OTP would have it: messages are small tuples or integers, receivers of floods keep their queue off the heap and run
%% at high priority, nothing is logged. Mailboxes have no bounds, so producers are not paced. What each workload does is said in
%% bench/runtime/*.c; sums are compared here as there.
%%
%% SPDX-License-Identifier: Apache-2.0
-module(stoa_peer).
-export([main/1, init/1, handle_call/3, handle_cast/2, mayfly/0, idle_here/2, idler/1, sleeper/1, victim/0, start_victim/1,
         supervised/1]).
-behaviour(gen_server).

-define(RING, 100).
-define(SOURCES, 100).
-define(CROWD, 64).
-define(CREATURES, 100).
-define(CHUNK, 256).
-define(TIMERS, 256).
-define(PAUSE_MS, 2).
-define(LONG_RUNS, 3). % of what takes seconds

main([Name, Runs, Steps]) ->
    logger:set_primary_config(level, none),
    try
        row(Name, list_to_integer(Runs), list_to_integer(Steps)),
        erlang:halt(0)
    catch
        Class:Reason:Stack ->
            io:format(standard_error, "stoa_peer: ~s: ~p ~p~n~p~n", [Name, Class, Reason, Stack]),
            erlang:halt(1)
    end.

row("runtime.pingpong", Runs, N) -> measure(Runs, pass([0, 0], 2, N));
row("runtime.cross", Runs, N) -> measure(Runs, pass([1, 2], 2, N));
row("runtime.ring", Runs, N) -> measure(Runs, pass(lists:duplicate(?RING, 0), 1, N));
row("runtime.counting", Runs, N) -> measure(Runs, flow(1, N));
row("runtime.fanin", Runs, N) -> measure(Runs, flow(?SOURCES, N));
row("runtime.big", Runs, N) -> measure(Runs, big(N));
row("runtime.chameneos", Runs, N) -> measure(Runs, chameneos(N));
row("runtime.create", Runs, N) -> measure(Runs, fun() -> create(N) end);
row("runtime.idle", Runs, N) -> idle(min(Runs, ?LONG_RUNS), N);
row("runtime.request", Runs, N) -> measure(Runs, request(N));
row("runtime.restart", Runs, N) -> measure(Runs, fun() -> restart(N) end);
row("runtime.restart_10k", Runs, N) ->
    measure(Runs, fun() -> restart(N) end),
    measure(" supervisor", min(Runs, ?LONG_RUNS), supervise(N));
row("runtime.timer", Runs, N) -> measure(Runs, fun() -> element(1, timers(N)) end);
row("runtime.timer_cancel", Runs, N) -> measure(Runs, fun() -> element(2, timers(N)) end);
row("runtime.wake", Runs, N) -> measure(Runs, wake(N));
row(_, _, _) -> ok.

%% --- measuring

measure(Runs, Once) -> measure("", Runs, Once).

measure(How, Runs, Once) ->
    label(How),
    Once(),
    Once(),
    [sample(Once()) || _ <- lists:seq(1, Runs)].

label(How) -> io:format("peer erlang/otp ~s~s~n", [erlang:system_info(otp_release), How]).
sample(Value) -> io:format("sample ~.6f~n", [float(Value)]).

now_ns() -> erlang:monotonic_time(nanosecond).

%% Post, wait for the sum, and give the nanoseconds.
run(Sum, Post) ->
    Began = now_ns(),
    Post(),
    receive {ended, Sum} -> now_ns() - Began;
            {ended, Other} -> error({sum, Other, expected, Sum})
    end.

mega(Count, Ns) -> Count * 1000 / Ns.

%% --- passing on: schedulers are numbers, 0 for any

pass(Schedulers, Passes, Steps) ->
    Main = self(),
    Passers = [spawn_opt(fun() -> receive {link, Next} -> passer(Main, Next) end end, [{scheduler, S}]) || S <- Schedulers],
    [First | Rest] = Passers,
    [P ! {link, Next} || {P, Next} <- lists:zip(Passers, Rest ++ [First])],
    Left = Steps * Passes,
    fun() -> run(Left * (Left + 1) div 2, fun() -> First ! {Left, 0} end) / Steps end.

passer(Main, Next) ->
    receive
        {0, Sum} -> Main ! {ended, Sum};
        {Left, Sum} -> Next ! {Left - 1, Sum + Left}
    end,
    passer(Main, Next).

%% --- one way

flow(Sources, Steps) ->
    Main = self(),
    Each = Steps div Sources,
    Sink = spawn_opt(fun() -> sink_idle(Main) end, [{message_queue_data, off_heap}, {priority, high}]),
    At = [spawn(fun() -> source(Sink) end) || _ <- lists:seq(1, Sources)],
    fun() ->
        Sink ! {expect, Each * Sources},
        Ns = run(Sources * (Each * (Each + 1) div 2), fun() -> [S ! Each || S <- At] end),
        mega(Each * Sources, Ns)
    end.

sink_idle(Main) ->
    receive {expect, Items} -> Main ! {ended, sink(Items, 0)} end,
    sink_idle(Main).

sink(0, Sum) -> Sum;
sink(Left, Sum) -> receive Value when is_integer(Value) -> sink(Left - 1, Sum + Value) end.

source(Sink) ->
    receive Items -> send(Sink, Items) end,
    source(Sink).

send(_, 0) -> ok;
send(Sink, Left) -> Sink ! Left, send(Sink, Left - 1).

%% --- many to many

big(Pings) ->
    Main = self(),
    At = [spawn(fun() -> receive {crowd, All, Tally} -> member(All, Tally, rand:mwc59_seed(I), 0, 0) end end)
          || I <- lists:seq(1, ?CROWD)],
    Tally = spawn(fun() -> tally(Main, ?CROWD, 0) end),
    [A ! {crowd, list_to_tuple(At), Tally} || A <- At],
    fun() ->
        Ns = run(?CROWD * (Pings * (Pings + 1) div 2 + Pings), fun() -> [A ! {start, Pings} || A <- At] end),
        mega(2 * ?CROWD * Pings, Ns)
    end.

tally(Main, 0, Sum) -> Main ! {ended, Sum}, tally(Main, ?CROWD, 0);
tally(Main, Left, Sum) -> receive {done, Part} -> tally(Main, Left - 1, Sum + Part) end.

member(All, Tally, Random, Left, Sum) ->
    receive
        {ping, From, N} -> From ! {pong, N + 1}, member(All, Tally, Random, Left, Sum);
        {pong, N} when Left =:= 1 -> Tally ! {done, Sum + N}, member(All, Tally, Random, 0, 0);
        {pong, N} -> member(All, Tally, ping(All, Random, Left - 1), Left - 1, Sum + N);
        {start, Pings} -> member(All, Tally, ping(All, Random, Pings), Pings, 0)
    end.

ping(All, Random, N) ->
    Next = rand:mwc59(Random),
    element(Next rem ?CROWD + 1, All) ! {ping, self(), N},
    Next.

chameneos(Meetings) ->
    Main = self(),
    Mall = spawn_opt(fun() -> mall_idle(Main) end, [{priority, high}]),
    At = [spawn(fun() -> creature(Mall, 0, 0) end) || _ <- lists:seq(1, ?CREATURES)],
    fun() ->
        Mall ! {open, Meetings},
        Post = fun() -> [C ! {start, I rem 3} || {I, C} <- lists:enumerate(At)] end,
        mega(Meetings, run(2 * Meetings, Post))
    end.

mall_idle(Main) ->
    receive {open, Meetings} -> Main ! {ended, mall(Meetings)} end,
    mall_idle(Main).

mall(0) -> lists:sum([receive {meet, _, _, Met} -> Met end || _ <- lists:seq(1, ?CREATURES)]);
mall(Left) ->
    receive {meet, First, FirstColour, _} ->
        receive {meet, Second, SecondColour, _} ->
            First ! {other, SecondColour},
            Second ! {other, FirstColour},
            mall(Left - 1)
        end
    end.

creature(Mall, Colour, Met) ->
    receive
        {other, Colour} -> visit(Mall, Colour, Met + 1);
        {other, Other} -> visit(Mall, 3 - Other - Colour, Met + 1);
        {start, Mine} -> visit(Mall, Mine, 0)
    end.

visit(Mall, Colour, Met) -> Mall ! {meet, self(), Colour, Met}, creature(Mall, Colour, Met).

%% --- births and deaths

create(Actors) ->
    Began = now_ns(),
    Sum = create(Actors, 0),
    Ns = now_ns() - Began,
    Sum = Actors * (Actors + 1) div 2 + Actors,
    mega(Actors, Ns).

create(0, Sum) -> Sum;
create(Left, Sum) ->
    Chunk = min(Left, ?CHUNK),
    bear(Left, Chunk),
    create(Left - Chunk, gather(Chunk, Sum)).

bear(_, 0) -> ok;
bear(N, Chunk) -> spawn(?MODULE, mayfly, []) ! {self(), N}, bear(N - 1, Chunk - 1).

gather(0, Sum) -> Sum;
gather(Left, Sum) -> receive N -> gather(Left - 1, Sum + N) end.

mayfly() -> receive {Parent, N} -> Parent ! N + 1 end.

%% Processes that wait, and processes that hibernate, whose heap is then as small as it goes. Each sample from a VM of its own.
idle(Runs, Actors) ->
    idle(Runs, Actors, "", idler),
    idle(Runs, Actors, " hibernated", sleeper).

idle(Runs, Actors, How, Kind) ->
    label(How),
    Arguments = ["-boot", "start_clean", "+S", "1:1", "+P", "2097152", "-pa", filename:dirname(code:which(?MODULE))],
    [sample(elsewhere(Arguments, [Actors, Kind])) || _ <- lists:seq(1, Runs)].

elsewhere(Arguments, What) ->
    {ok, Vm, _} = peer:start_link(#{connection => standard_io, args => Arguments}),
    Bytes = peer:call(Vm, ?MODULE, idle_here, What, 60000),
    peer:stop(Vm),
    Bytes.

idle_here(Actors, Kind) ->
    Before = resident(),
    Actors = settle(Actors, Kind, 0),
    erlang:garbage_collect(),
    (resident() - Before) / Actors.

%% Chunk by chunk, so that what a process gives back when it hibernates serves the next ones.
settle(0, _, Sum) -> Sum;
settle(Left, Kind, Sum) ->
    Chunk = min(Left, ?CHUNK),
    [spawn(?MODULE, Kind, [0]) ! {self(), 1} || _ <- lists:seq(1, Chunk)],
    settle(Left - Chunk, Kind, gather(Chunk, Sum)).

idler(Sum) -> receive {From, N} -> From ! N, idler(Sum + N) end.

sleeper(Sum) -> receive {From, N} -> From ! N, erlang:hibernate(?MODULE, sleeper, [Sum + N]) end.

resident() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = string:split(Text, " ", all),
    binary_to_integer(Pages) * 4096.

%% --- calls

request(Calls) ->
    {ok, Server} = gen_server:start_link(?MODULE, [], []),
    fun() ->
        Began = now_ns(),
        Sum = ask(Server, Calls, 0),
        Ns = now_ns() - Began,
        Sum = Calls * (Calls + 1) div 2 + Calls,
        Ns / Calls
    end.

ask(_, 0, Sum) -> Sum;
ask(Server, Left, Sum) -> ask(Server, Left - 1, Sum + gen_server:call(Server, Left, 1000)).

init([]) -> {ok, 0};
init({supervisor, Driver}) ->
    Child = #{id => victim, start => {?MODULE, start_victim, [Driver]}, restart => permanent},
    {ok, {#{strategy => one_for_one, intensity => 1 bsl 40, period => 1}, [Child]}}.
handle_call(N, _, Answered) -> {reply, N + 1, Answered + 1}.
handle_cast(_, Answered) -> {noreply, Answered}.

%% --- restarts: by a process that monitors its child, and by OTP's supervisor

restart(Times) ->
    Began = now_ns(),
    restart_loop(Times),
    mega(Times, now_ns() - Began).

restart_loop(0) -> ok;
restart_loop(Left) ->
    {Child, Monitor} = spawn_monitor(?MODULE, victim, []),
    Child ! fail,
    receive {'DOWN', Monitor, process, Child, failed} -> restart_loop(Left - 1) end.

victim() -> receive fail -> exit(failed) end.

supervise(Times) ->
    fun() ->
        Driver = self(),
        Supervisor = spawn(?MODULE, supervised, [Driver]),
        Child = receive {born, First} -> First end,
        Began = now_ns(),
        supervise_loop(Times, Child),
        Ns = now_ns() - Began,
        exit(Supervisor, kill),
        mega(Times, Ns)
    end.

supervised(Driver) ->
    {ok, _} = supervisor:start_link(?MODULE, {supervisor, Driver}),
    receive never -> ok end.

start_victim(Driver) ->
    Child = spawn_link(?MODULE, victim, []),
    Driver ! {born, Child},
    {ok, Child}.

supervise_loop(0, _) -> ok;
supervise_loop(Left, Child) -> Child ! fail, receive {born, Next} -> supervise_loop(Left - 1, Next) end.

%% --- timers

timers(Rounds) -> timers(Rounds, 0, 0, Rounds * ?TIMERS).

timers(0, Arming, Cancelling, Count) -> {Arming / Count, Cancelling / Count};
timers(Left, Arming, Cancelling, Count) ->
    Began = now_ns(),
    Armed = arm(Left * ?TIMERS, ?TIMERS, []),
    Middle = now_ns(),
    cancel(Armed),
    Ended = now_ns(),
    timers(Left - 1, Arming + Middle - Began, Cancelling + Ended - Middle, Count).

arm(_, 0, Armed) -> Armed;
arm(N, Left, Armed) ->
    arm(N + 1, Left - 1, [erlang:start_timer(1000 + N * 7919 rem 59000, self(), ring) | Armed]).

cancel([]) -> ok;
cancel([Timer | Rest]) -> erlang:cancel_timer(Timer, [{async, true}, {info, false}]), cancel(Rest).

%% --- waking: the median of a run, in microseconds

wake(Wakes) ->
    Main = self(),
    Sleeper = spawn_opt(fun() -> woken(Main, Wakes, Wakes, []) end, [{scheduler, 2}]),
    Waker = spawn_opt(fun() -> waker(Sleeper) end, [{scheduler, 1}]),
    fun() ->
        Waker ! {start, Wakes},
        receive {ended, Took} -> lists:nth(Wakes div 2 + 1, lists:sort(Took)) / 1000 end
    end.

waker(Sleeper) -> receive {start, Wakes} -> poke(Sleeper, Wakes) end, waker(Sleeper).

poke(_, 0) -> ok;
poke(Sleeper, Left) -> receive after ?PAUSE_MS -> Sleeper ! now_ns(), poke(Sleeper, Left - 1) end.

woken(Main, Wakes, 0, Took) -> Main ! {ended, Took}, woken(Main, Wakes, Wakes, []);
woken(Main, Wakes, Left, Took) -> receive Sent -> woken(Main, Wakes, Left - 1, [now_ns() - Sent | Took]) end.
