/* backtrace.c - unwinding through glibc's backtrace(3), names from ELF symbol tables. See backtrace.h.
 *
 * glibc loads the unwinder at the first call, which allocates; from then on it walks the unwind tables without locks
 * (glibc 2.35 and later find them so).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/backtrace.h"

#include <dlfcn.h>
#include <elf.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

enum { MODULES_MAX = 128, RAW_MAX = STOA_FLIGHT_FRAMES_MAX + 16 };

typedef struct module {
    uintptr_t base, low, high; /* where it was loaded, and its code and data */
    const char *name;
} module;

/* Written once by load, under once. */
static struct {
    module modules[MODULES_MAX];
    uint32_t count;
    const Elf64_Sym *symbols; /* of the program, mapped */
    size_t symbol_count;
    const char *strings;
    size_t strings_bytes;
} known;

/* --- loading */

static int add_module(struct dl_phdr_info *info, size_t size, void *context)
{
    uintptr_t low = UINTPTR_MAX, high = 0;
    (void)size;
    (void)context;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD) { continue; }
        uintptr_t from = info->dlpi_addr + part->p_vaddr, to = from + part->p_memsz;
        low = from < low ? from : low;
        high = to > high ? to : high;
    }
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *name = slash ? slash + 1 : info->dlpi_name;
    if (!known.count) { name = "program"; } /* the first one is, and has no name */
    known.modules[known.count++] = (module){info->dlpi_addr, low, high, name};
    return known.count == MODULES_MAX;
}

static bool within(size_t all, uint64_t at, uint64_t bytes)
{
    return at <= all && bytes <= all - at;
}

/* Find the symbol table in the mapped program. */
static void find_symbols(const char *file, size_t bytes)
{
    const Elf64_Ehdr *head = (const void *)file;
    if (bytes < sizeof *head || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_ident[EI_CLASS] != ELFCLASS64) {
        return;
    }
    if (head->e_shentsize != sizeof(Elf64_Shdr) || !within(bytes, head->e_shoff, head->e_shnum * sizeof(Elf64_Shdr))) {
        return;
    }
    const Elf64_Shdr *sections = (const void *)(file + head->e_shoff);
    for (unsigned i = 0; i < head->e_shnum; i++) {
        const Elf64_Shdr *symbols = &sections[i];
        if (symbols->sh_type != SHT_SYMTAB || symbols->sh_link >= head->e_shnum) { continue; }
        const Elf64_Shdr *strings = &sections[symbols->sh_link];
        if (!within(bytes, symbols->sh_offset, symbols->sh_size) ||
            !within(bytes, strings->sh_offset, strings->sh_size)) {
            return;
        }
        known.symbols = (const void *)(file + symbols->sh_offset);
        known.symbol_count = symbols->sh_size / sizeof(Elf64_Sym);
        known.strings = file + strings->sh_offset;
        known.strings_bytes = strings->sh_size;
    }
}

static void map_program(void)
{
    struct stat status;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0) { return; }
    if (fstat(fd, &status) == 0 && status.st_size > 0) {
        size_t bytes = (size_t)status.st_size;
        const char *at = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (at != MAP_FAILED) { find_symbols(at, bytes); }
    }
    (void)close(fd);
}

static void load(void)
{
    void *one[1];
    (void)backtrace(one, 1);
    (void)dl_iterate_phdr(add_module, NULL);
    map_program();
}

void stoa_symbols_load(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, load);
}

/* --- names */

static const module *module_of(uintptr_t pc)
{
    for (uint32_t i = 0; i < known.count; i++) {
        if (pc >= known.modules[i].low && pc < known.modules[i].high) { return &known.modules[i]; }
    }
    return NULL;
}

static const char *function_in_program(uintptr_t at, uint64_t *offset_out)
{
    for (size_t i = 0; i < known.symbol_count; i++) {
        const Elf64_Sym *symbol = &known.symbols[i];
        if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || at < symbol->st_value ||
            at - symbol->st_value >= symbol->st_size) {
            continue;
        }
        if (symbol->st_name >= known.strings_bytes) { return NULL; }
        *offset_out = at - symbol->st_value;
        return known.strings + symbol->st_name;
    }
    return NULL;
}

static const char *name_at(uintptr_t pc, bool ask_linker, uint64_t *offset_out)
{
    const module *m = module_of(pc);
    const char *name = NULL;
    Dl_info found;
    if (m == &known.modules[0]) { name = function_in_program(pc - m->base, offset_out); }
    if (!name && ask_linker && dladdr((const void *)pc, &found) && found.dli_sname) {
        name = found.dli_sname;
        *offset_out = pc - (uintptr_t)found.dli_saddr;
    }
    if (name) { return name; }
    *offset_out = m ? pc - m->base : pc;
    return m ? m->name : "?";
}

void stoa_backtrace_name(const stoa_backtrace *trace, bool ask_linker, stoa_flight_frames *out)
{
    out->count = trace->count;
    for (uint32_t i = 0; i < trace->count; i++) {
        uintptr_t inside = trace->at[i] - (i ? 1 : 0); /* a return address may be the first byte of the next function */
        out->address[i] = trace->at[i];
        out->in[i] = name_at(inside, ask_linker, &out->offset[i]);
        out->offset[i] += i ? 1 : 0;
    }
}

void stoa_frames_print(const stoa_flight_frames *frames, uint32_t max, stoa_buf *out)
{
    for (uint32_t i = 0; i < frames->count && i < max; i++) {
        char digits[24];
        size_t at = sizeof digits;
        uint64_t offset = frames->offset[i];
        do {
            digits[--at] = (char)('0' + offset % 10);
        } while (offset /= 10);
        stoa_buf_puts(out, i ? " < " : "");
        stoa_buf_puts(out, frames->in[i]);
        stoa_buf_puts(out, "+");
        stoa_buf_put(out, digits + at, sizeof digits - at);
    }
}

/* --- frames */

static void add(stoa_backtrace *trace, uintptr_t pc)
{
    if (trace->count < STOA_FLIGHT_FRAMES_MAX) { trace->at[trace->count++] = pc; }
}

#if defined __x86_64__
typedef struct registers {
    uintptr_t pc, stack, frame;
} registers;

static registers registers_of(const void *context)
{
    const ucontext_t *at = context;
    return (registers){(uintptr_t)at->uc_mcontext.gregs[REG_RIP], (uintptr_t)at->uc_mcontext.gregs[REG_RSP],
                       (uintptr_t)at->uc_mcontext.gregs[REG_RBP]};
}
#else
#error "say where this machine keeps the registers of a context"
#endif

__attribute__((no_sanitize("address", "thread"))) static uintptr_t word_at(uintptr_t at)
{
    return *(const volatile uintptr_t *)at;
}

/* The unwinder cannot pass a call of what is no function. Its caller's address is on top of the stack, and all code
 * here keeps frame pointers. */
static void walk(const registers *r, uintptr_t low, uintptr_t high, stoa_backtrace *out)
{
    uintptr_t frame = r->frame;
    if (r->stack >= low && r->stack + sizeof(uintptr_t) <= high && module_of(word_at(r->stack))) {
        add(out, word_at(r->stack));
    }
    while (frame >= low && frame + 2 * sizeof(uintptr_t) <= high && frame % sizeof(uintptr_t) == 0) {
        uintptr_t next = word_at(frame);
        if (!module_of(word_at(frame + sizeof(uintptr_t)))) { return; }
        add(out, word_at(frame + sizeof(uintptr_t)));
        if (next <= frame) { return; }
        frame = next;
    }
}

void stoa_backtrace_take(const void *context, uintptr_t low, uintptr_t high, stoa_backtrace *out)
{
    void *raw[RAW_MAX];
    int count = backtrace(raw, RAW_MAX), from = 1; /* without this function */
    registers r = {0};
    bool met = !context;
    out->count = 0;
    if (context) { r = registers_of(context); }
    for (int i = 0; i < count && !met; i++) {
        met = (uintptr_t)raw[i] == r.pc;
        if (met) { from = i; }
    }
    if (!met) { add(out, r.pc); }
    if (!met && low) { walk(&r, low, high, out); }
    for (int i = from; i < count && met; i++) {
        add(out, (uintptr_t)raw[i]);
    }
}
