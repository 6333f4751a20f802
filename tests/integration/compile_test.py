"""compile_test.py - goal: a wrong payload does not compile, and a handler cannot write to its state outside apply. Method: a kind
whose parts are right compiles, without a warning; then one part after another is exchanged for a wrong one, and the compiler must
refuse it for the reason that is expected. No warning is turned on or into an error from here: what a program gets that includes
stoa.h is what counts.

SPDX-License-Identifier: Apache-2.0
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE, BUILD = os.environ["STOA_SOURCE"], os.environ["STOA_BUILD"]

PARTS = {
    "fields": "#define shop_buy_FIELDS(F, S) F(S, uint64_t, count) F(S, stoa_text30, what)",
    "hears": "#define clerk_HEARS(HEAR, K) HEAR(K, shop, bill) HEAR(K, shop, sale)",
    "state": "typedef struct shop { uint64_t sold; stoa_text30 last; } shop;",
    "on_buy": """
static stoa_err shop_on_buy(stoa_turn *turn, const shop *self, const shop_buy *in, shop_bill *out)
{
    HANDLER_BODY
    out->price = self->sold + in->count;
    return shop_emit_sold(turn, (shop_sold){EMITTED});
}""",
    "apply": "static void shop_apply_sold(shop *self, const shop_sold *event)\n{\n    APPLY_BODY\n}",
    "hear": "static stoa_err clerk_on_shop_bill(stoa_turn *turn, clerk *self, const shop_bill *in)",
    "HANDLER_BODY": "",
    "EMITTED": "in->count",
    "APPLY_BODY": "self->sold += event->count;",
    "TELL_BODY": "",
    "OUTSIDE": "",
}
PROGRAM = """
#include <stoa/stoa.h>

%(fields)s
#define shop_bill_FIELDS(F, S) F(S, uint64_t, price)
#define shop_sold_FIELDS(F, S) F(S, uint64_t, count)
#define shop_sale_FIELDS(F, S) F(S, uint64_t, count)
#define shop_ROWS(ROW, K)                 \\
    ROW(K, COMMAND, buy, bill, "Buy.")    \\
    ROW(K, REPLY, bill, _, "What it is.") \\
    ROW(K, EVENT, sold, _, "Sold.")       \\
    ROW(K, TOPIC, sale, _, "A sale.")
STOA_TABLE_HERE(shop)
%(state)s
#define shop_HEARS STOA_HEARS_NOTHING
STOA_KIND(shop, .mailbox_limit = 64)
%(on_buy)s
%(apply)s

#define clerk_tell_FIELDS STOA_NO_FIELDS
#define clerk_ROWS(ROW, K) ROW(K, CAST, tell, _, "Tell.")
STOA_TABLE_HERE(clerk)
typedef struct clerk { uint64_t told; } clerk;
%(hears)s
STOA_PLAIN_KIND(clerk)
static stoa_err clerk_on_tell(stoa_turn *turn, clerk *self, const clerk_tell *in)
{
    shop_sale sale = {in->none.nothing};
    self->told++; /* a plain kind's own */
    TELL_BODY
    return shop_publish_sale(turn, 0, &sale);
}
%(hear)s
{
    (void)turn;
    self->told += in->price;
    return STOA_OK;
}
static stoa_err clerk_on_shop_sale(stoa_turn *turn, clerk *self, const shop_sale *in)
{
    return in->count > self->told ? clerk_send_tell(turn, turn->self, (clerk_tell){0}) : STOA_OK;
}

int main(void)
{
    shop_bill bill = {0};
    stoa_err err = shop_call_buy(NULL, STOA_REF_NONE, (shop_buy){.count = 1, .what = stoa_text("pen")}, STOA_MS(1), &bill);
    OUTSIDE
    return err ? 1 : 0;
}
"""
READ_ONLY = r"read-only|const-qualified"
DISCARDS = r"discards (.const. )?qualifier"
WRONG_TYPE = r"incompatible type|incompatible pointer type"
# What is exchanged, for what, and why it must not compile.
WRONG = [
    # state outside apply
    ("HANDLER_BODY", "self->sold++;", READ_ONLY),
    ("HANDLER_BODY", "self->last = in->what;", READ_ONLY),
    ("HANDLER_BODY", "shop *mine = self; mine->sold = 0;", DISCARDS),
    ("HANDLER_BODY", "shop_apply_sold(self, &(const shop_sold){1});", DISCARDS),
    ("HANDLER_BODY", "(void)STOA_TEXT_SETZ(&self->last, \"x\");", DISCARDS),
    ("on_buy", PARTS["on_buy"].replace("const shop *self", "shop *self"), r"conflicting types for .shop_on_buy"),
    # what was received, in a handler and in apply
    ("HANDLER_BODY", "in->count = 7;", READ_ONLY),
    ("APPLY_BODY", "event->count = 7;", READ_ONLY),
    ("apply", PARTS["apply"].replace("const shop_sold", "shop_sold"), r"conflicting types for .shop_apply_sold"),
    # handlers of another payload than the table says, or none
    ("on_buy", PARTS["on_buy"].replace("const shop_buy *in", "const shop_sold *in"), r"conflicting types for .shop_on_buy"),
    ("on_buy", PARTS["on_buy"].replace("shop_bill *out", "shop_sale *out"), r"conflicting types for .shop_on_buy"),
    ("apply", PARTS["apply"].replace("const shop_sold", "const shop_sale"), r"conflicting types for .shop_apply_sold"),
    ("hear", PARTS["hear"].replace("shop_bill *in", "shop_sale *in"), r"conflicting types for .clerk_on_shop_bill"),
    ("hears", "#define clerk_HEARS(HEAR, K) HEAR(K, shop, bill) HEAR(K, shop, gossip)", r"shop_gossip|shop_ROW_gossip"),
    # payloads sent, emitted, published, called
    ("HANDLER_BODY", "(void)shop_emit_sold(turn, (shop_sale){1});", WRONG_TYPE),
    ("HANDLER_BODY", "(void)shop_send_buy(turn, turn->from, (shop_bill){1});", WRONG_TYPE),
    ("HANDLER_BODY", "(void)shop_forward_buy(turn, turn->from, *out);", WRONG_TYPE),
    ("HANDLER_BODY", "(void)shop_answer_bill(turn, *in);", WRONG_TYPE),
    ("TELL_BODY", "(void)shop_ask_buy(turn, turn->from, sale, STOA_S(1), 0);", WRONG_TYPE),
    ("TELL_BODY", "(void)shop_publish_sale(turn, 0, &(shop_sold){1});", WRONG_TYPE),
    ("TELL_BODY", "(void)clerk_mail_tell(turn, \"clerk/far\", sale, 0);", WRONG_TYPE),
    ("TELL_BODY", "(void)clerk_after_tell(turn, STOA_S(1), sale, NULL);", WRONG_TYPE),
    ("OUTSIDE", "err = shop_call_buy(NULL, STOA_REF_NONE, (shop_sold){1}, 1, &bill);", WRONG_TYPE),
    ("OUTSIDE", "err = shop_call_buy(NULL, STOA_REF_NONE, (shop_buy){1}, 1, &(shop_sale){1});", WRONG_TYPE),
    # a reference is not a number, an error not a payload
    ("OUTSIDE", "err = shop_call_buy(NULL, 7, (shop_buy){1}, 1, &bill);", WRONG_TYPE),
    # tables: holes would make equal payloads unequal bytes; a type that no codec knows
    ("fields", PARTS["fields"].replace("uint64_t, count", "uint8_t, count"), r"has padding"),
    ("fields", PARTS["fields"].replace("uint64_t, count", "double, count"), r"stoa_type_double"),
]


def cached(name):
    with open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8") as cache:
        return re.search(rf"^{name}:\w+=(.*)$", cache.read(), re.M).group(1)


def compile_with(parts, folder, cc):
    text = PROGRAM % {name: body for name, body in parts.items() if name.islower()}
    for name in ("HANDLER_BODY", "EMITTED", "APPLY_BODY", "TELL_BODY", "OUTSIDE"):
        text = text.replace(name, parts[name])
    path = os.path.join(folder, "kind.c")
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    return subprocess.run([cc, "-std=gnu17", "-fsyntax-only", "-I" + os.path.join(BUILD, "include"), "-I" + SOURCE, path],
                          capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})


def faults_with(cc, folder):
    done = compile_with(PARTS, folder, cc)
    if done.returncode != 0 or done.stderr:
        yield f"{cc}: the right parts: {done.stderr}"
    for name, wrong, why in WRONG:
        assert wrong != PARTS[name], f"{name} was not exchanged"
        done = compile_with({**PARTS, name: wrong}, folder, cc)
        errors = "\n".join(line for line in done.stderr.split("\n") if " error: " in line)
        if done.returncode == 0 or not re.search(why, errors):
            yield f"{cc}: {wrong.strip()}\n  must not compile ({why}), but: {done.stderr or 'it does'}"


def main():
    compilers = [cached("CMAKE_C_COMPILER"), shutil.which("clang-14")]
    with tempfile.TemporaryDirectory(prefix="stoa-compile-") as folder:
        faults = [fault for cc in compilers if cc for fault in faults_with(cc, folder)]
    print("\n".join(faults) or f"{len(WRONG)} wrong parts, none compiles")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
