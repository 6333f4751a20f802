/* logger.cc - rocksdb/logger.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/rocksdb/logger.h"

#include <rocksdb/env.h>

#include <cstdarg>
#include <cstdio>
#include <memory>

/* As RocksDB's db/c.cc has it, which offers no constructor for it. tests/unit/storage/rocksdb_test.c would see no
 * line, and a LOG file, if this were to change. */
struct rocksdb_logger_t {
    std::shared_ptr<rocksdb::Logger> rep;
};

namespace
{
class forwarder final : public rocksdb::Logger
{
  public:
    explicit forwarder(void (*line)(const char *text)) : Logger(rocksdb::InfoLogLevel::WARN_LEVEL), line_(line) {}

    using rocksdb::Logger::Logv;
    void LogHeader(const char *, va_list) override {}
    __attribute__((format(printf, 2, 0))) void Logv(const char *format, va_list args) override
    {
        char text[1024];
        if (std::vsnprintf(text, sizeof text, format, args) > 0) { line_(text); }
    }

  private:
    void (*line_)(const char *text);
};
} // namespace

extern "C" rocksdb_logger_t *stoa_rocksdb_logger(void (*line)(const char *text))
{
    static rocksdb_logger_t *const logger = new rocksdb_logger_t{std::make_shared<forwarder>(line)};
    return logger; /* not destroyed at exit: RocksDB's threads may still log then */
}
