/* json.cc - base/json.h over simdjson's DOM; the one C++ file of Stoa.
 *
 * A stoa_json is the bytes of a simdjson element, which is a document pointer and an index into its tape;
 * they are copied in and out and never looked at. simdjson is used without its exceptions, and everything
 * that is called here is noexcept and allocates with nothrow, so nothing is thrown into C.
 *
 * Buffers grow by doubling up to the limit: a parser soon stops allocating. Never trust simdjson's own
 * capacity for the limit: it rounds up small ones.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

extern "C" {
#include "base/json.h"
}

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

struct stoa_json_parser {
    simdjson::dom::parser dom;
    std::unique_ptr<char[]> bytes; /* capacity_bytes and simdjson's padding */
    size_t capacity_bytes = 0;
    size_t limit_bytes = 0;
};

namespace
{

constexpr size_t first_bytes = 4096;
constexpr size_t limit_max = 0xffff0000; /* simdjson counts in 32 bits */

/* Copy between simdjson's type and ours. */
template <typename To, typename From> To same_bytes(const From &from) noexcept
{
    static_assert(sizeof(To) == sizeof(From), "an element is as large as a stoa_json");
    static_assert(std::is_trivially_copyable<To>::value && std::is_trivially_copyable<From>::value,
                  "and plain bytes");
    To to;
    std::memcpy(static_cast<void *>(&to), &from, sizeof to);
    return to;
}

element element_of(stoa_json value) noexcept
{
    return same_bytes<element>(value);
}

stoa_err error_of(simdjson::error_code code) noexcept
{
    static const struct {
        simdjson::error_code code;
        stoa_err err;
    } rows[] = {
        {simdjson::SUCCESS, STOA_OK},
        {simdjson::CAPACITY, STOA_E_TOO_LARGE},
        {simdjson::MEMALLOC, STOA_E_NOMEM},
        {simdjson::INCORRECT_TYPE, STOA_E_INVALID},
        {simdjson::NO_SUCH_FIELD, STOA_E_NOT_FOUND},
        {simdjson::NUMBER_OUT_OF_RANGE, STOA_E_RANGE},
    };
    for (const auto &row : rows) {
        if (row.code == code) { return row.err; }
    }
    return STOA_E_MALFORMED;
}

/* Room for size bytes in the parser's own buffer; size is within the limit. */
bool grow(stoa_json_parser *parser, size_t size_bytes) noexcept
{
    if (parser->bytes && size_bytes <= parser->capacity_bytes) { return true; }
    size_t capacity_bytes = first_bytes;
    while (capacity_bytes < size_bytes) {
        capacity_bytes *= 2;
    }
    capacity_bytes = std::min(capacity_bytes, limit_max);

    std::unique_ptr<char[]> bytes(new (std::nothrow) char[capacity_bytes + simdjson::SIMDJSON_PADDING]());
    if (!bytes || parser->dom.allocate(capacity_bytes) != simdjson::SUCCESS) { return false; }
    if (parser->dom.doc.allocate(capacity_bytes) != simdjson::SUCCESS) { return false; }
    parser->bytes = std::move(bytes);
    parser->capacity_bytes = capacity_bytes;
    return true;
}

/* Read one scalar through simdjson's typed access. */
template <typename T> stoa_err read(stoa_json value, T *out) noexcept
{
    T got{};
    stoa_err err = error_of(element_of(value).get(got));
    if (err == STOA_OK) { *out = got; }
    return err;
}

void look(stoa_json_iter *iter) noexcept
{
    auto at = same_bytes<array::iterator>(iter->at_);
    iter->more = at != same_bytes<array::iterator>(iter->end_);
    if (iter->more) { iter->value = same_bytes<stoa_json>(*at); }
}

void look(stoa_json_members *members) noexcept
{
    auto at = same_bytes<object::iterator>(members->at_);
    members->more = at != same_bytes<object::iterator>(members->end_);
    if (!members->more) { return; }
    members->key = at.key_c_str();
    members->key_bytes = at.key().size();
    members->value = same_bytes<stoa_json>(at.value());
}

} // namespace

stoa_err stoa_json_parser_new(size_t limit_bytes, stoa_json_parser **out)
{
    if (limit_bytes == 0 || limit_bytes > limit_max) {
        return STOA_FAIL(STOA_E_INVALID, "JSON limit of %zu bytes", limit_bytes);
    }
    auto *parser = new (std::nothrow) stoa_json_parser;
    if (!parser) { return STOA_FAIL(STOA_E_NOMEM, "JSON parser"); }
    parser->limit_bytes = limit_bytes;
    *out = parser;
    return STOA_OK;
}

void stoa_json_parser_free(stoa_json_parser *parser)
{
    delete parser;
}

stoa_err stoa_json_parse(stoa_json_parser *parser, const char *bytes, size_t size_bytes, stoa_json *root_out)
{
    if (size_bytes > parser->limit_bytes) { return STOA_E_TOO_LARGE; }
    if (!grow(parser, size_bytes)) { return STOA_E_NOMEM; }
    if (size_bytes) { std::memcpy(parser->bytes.get(), bytes, size_bytes); }
    element root;
    stoa_err err = error_of(parser->dom.parse(parser->bytes.get(), size_bytes, false).get(root));
    if (err == STOA_OK) { *root_out = same_bytes<stoa_json>(root); }
    return err;
}

stoa_err stoa_json_get(stoa_json object, const char *key, stoa_json *out)
{
    element member;
    stoa_err err = error_of(element_of(object).at_key(key).get(member));
    if (err == STOA_OK) { *out = same_bytes<stoa_json>(member); }
    return err;
}

stoa_err stoa_json_text(stoa_json value, const char **text_out, size_t *size_out)
{
    std::string_view text;
    stoa_err err = read(value, &text);
    if (err != STOA_OK) { return err; }
    *text_out = text.data();
    *size_out = text.size();
    return STOA_OK;
}

stoa_err stoa_json_int(stoa_json value, int64_t *out)
{
    return read(value, out);
}

stoa_err stoa_json_uint(stoa_json value, uint64_t *out)
{
    return read(value, out);
}

stoa_err stoa_json_bool(stoa_json value, bool *out)
{
    return read(value, out);
}

stoa_err stoa_json_decimal(stoa_json value, stoa_decimal *out)
{
    std::string_view text;
    stoa_err err = read(value, &text);
    return err == STOA_OK ? stoa_decimal_parse(text.data(), text.size(), out) : err;
}

bool stoa_json_is_array(stoa_json value)
{
    return element_of(value).is_array();
}

bool stoa_json_is_object(stoa_json value)
{
    return element_of(value).is_object();
}

bool stoa_json_is_text(stoa_json value)
{
    return element_of(value).is_string();
}

bool stoa_json_is_null(stoa_json value)
{
    return element_of(value).is_null();
}

stoa_err stoa_json_first(stoa_json value, stoa_json_iter *out)
{
    array elements;
    stoa_err err = read(value, &elements);
    if (err != STOA_OK) { return err; }
    out->at_ = same_bytes<stoa_json>(elements.begin());
    out->end_ = same_bytes<stoa_json>(elements.end());
    look(out);
    return STOA_OK;
}

void stoa_json_next(stoa_json_iter *iter)
{
    auto at = same_bytes<array::iterator>(iter->at_);
    ++at;
    iter->at_ = same_bytes<stoa_json>(at);
    look(iter);
}

stoa_err stoa_json_first_member(stoa_json value, stoa_json_members *out)
{
    object members;
    stoa_err err = read(value, &members);
    if (err != STOA_OK) { return err; }
    out->at_ = same_bytes<stoa_json>(members.begin());
    out->end_ = same_bytes<stoa_json>(members.end());
    look(out);
    return STOA_OK;
}

void stoa_json_next_member(stoa_json_members *members)
{
    auto at = same_bytes<object::iterator>(members->at_);
    ++at;
    members->at_ = same_bytes<stoa_json>(at);
    look(members);
}
