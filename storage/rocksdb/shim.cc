/* shim.cc - rocksdb/shim.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/rocksdb/shim.h"

#include <rocksdb/env.h>
#include <rocksdb/listener.h>
#include <rocksdb/options.h>

#include <cstdarg>
#include <cstdio>
#include <memory>
#include <string>

/* As RocksDB's db/c.cc has them, which offers no way in. tests/unit/storage/rocksdb_test.c would see no line, and a LOG file, and
 * rocksdb_sync_test.c databases that go on, if this were to change. */
struct rocksdb_logger_t {
    std::shared_ptr<rocksdb::Logger> rep;
};
struct rocksdb_options_t {
    rocksdb::Options rep;
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

class ender final : public rocksdb::EventListener
{
  public:
    /* Under none of RocksDB's locks. */
    void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status *error) override
    {
        std::string text = error->ToString();
        bool sync = text.find("While fdatasync: ") != std::string::npos || text.find("While fsync: ") != std::string::npos;
        if (sync) { *error = rocksdb::Status(*error, rocksdb::Status::Severity::kFatalError); }
    }

    void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status error, bool *recovers) override
    {
        *recovers = *recovers && error.severity() < rocksdb::Status::Severity::kFatalError;
    }
};
} // namespace

extern "C" rocksdb_logger_t *stoa_rocksdb_logger(void (*line)(const char *text))
{
    static rocksdb_logger_t *const logger = new rocksdb_logger_t{std::make_shared<forwarder>(line)};
    return logger; /* not destroyed at exit: RocksDB's threads may still log then */
}

/* By RocksDB itself, which knows its own: to close a descriptor of a file gives back this process's lock on it. */
extern "C" bool stoa_rocksdb_is_open(const char *path)
{
    const std::string name = std::string(path) + "/LOCK";
    rocksdb::Env *const env = rocksdb::Env::Default();
    if (!env->FileExists(name).ok()) { return false; }
    rocksdb::FileLock *lock = nullptr;
    const rocksdb::Status status = env->LockFile(name, &lock);
    if (status.ok()) { env->UnlockFile(lock); }
    const std::string text = status.ToString();
    return text.find("While lock file") != std::string::npos || text.find("lock hold by current process") != std::string::npos;
}

extern "C" void stoa_rocksdb_end_with_sync(rocksdb_options_t *options)
{
    static const std::shared_ptr<rocksdb::EventListener> listener = std::make_shared<ender>();
    options->rep.listeners.push_back(listener);
}
