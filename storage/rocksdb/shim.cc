/* shim.cc - rocksdb/shim.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/rocksdb/shim.h"

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/listener.h>
#include <rocksdb/options.h>

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>

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

class syncs final
{
  public:
    template <typename does> rocksdb::IOStatus note(does sync)
    {
        std::shared_lock<std::shared_mutex> under_way(lock_);
        rocksdb::IOStatus status = sync();
        if (!status.ok()) { failed_ = true; }
        return status;
    }

    bool failed() const { return failed_; }

    void settle() { std::unique_lock<std::shared_mutex> ended(lock_); }

  private:
    std::shared_mutex lock_;
    std::atomic<bool> failed_{false};
};

using io = const rocksdb::IOOptions &;
using trace = rocksdb::IODebugContext *;

class noting_file final : public rocksdb::FSWritableFileOwnerWrapper
{
  public:
    noting_file(std::unique_ptr<rocksdb::FSWritableFile> &&file, syncs *notes) : FSWritableFileOwnerWrapper(std::move(file)), notes_(notes) {}

    rocksdb::IOStatus Sync(io options, trace to) override
    {
        return notes_->note([&] { return target()->Sync(options, to); });
    }
    rocksdb::IOStatus Fsync(io options, trace to) override
    {
        return notes_->note([&] { return target()->Fsync(options, to); });
    }
    rocksdb::IOStatus RangeSync(uint64_t offset, uint64_t bytes, io options, trace to) override
    {
        return notes_->note([&] { return target()->RangeSync(offset, bytes, options, to); });
    }
    rocksdb::IOStatus Close(io options, trace to) override
    {
        return notes_->note([&] { return target()->Close(options, to); });
    }

  private:
    syncs *notes_;
};

class noting_folder final : public rocksdb::FSDirectoryWrapper
{
  public:
    noting_folder(std::unique_ptr<rocksdb::FSDirectory> &&folder, syncs *notes) : FSDirectoryWrapper(std::move(folder)), notes_(notes) {}

    rocksdb::IOStatus Fsync(io options, trace to) override
    {
        return notes_->note([&] { return FSDirectoryWrapper::Fsync(options, to); });
    }
    rocksdb::IOStatus FsyncWithDirOptions(io options, trace to, const rocksdb::DirFsyncOptions &what) override
    {
        return notes_->note([&] { return FSDirectoryWrapper::FsyncWithDirOptions(options, to, what); });
    }

  private:
    syncs *notes_;
};

class noting_disk final : public rocksdb::FileSystemWrapper
{
  public:
    explicit noting_disk(syncs *notes) : FileSystemWrapper(rocksdb::FileSystem::Default()), notes_(notes) {}

    const char *Name() const override { return "stoa.syncs"; }

    rocksdb::IOStatus NewWritableFile(const std::string &path, const rocksdb::FileOptions &options,
                                      std::unique_ptr<rocksdb::FSWritableFile> *out, trace to) override
    {
        return noted<noting_file>(target()->NewWritableFile(path, options, out, to), out);
    }
    rocksdb::IOStatus ReopenWritableFile(const std::string &path, const rocksdb::FileOptions &options,
                                         std::unique_ptr<rocksdb::FSWritableFile> *out, trace to) override
    {
        return noted<noting_file>(target()->ReopenWritableFile(path, options, out, to), out);
    }
    rocksdb::IOStatus ReuseWritableFile(const std::string &path, const std::string &old, const rocksdb::FileOptions &options,
                                        std::unique_ptr<rocksdb::FSWritableFile> *out, trace to) override
    {
        return noted<noting_file>(target()->ReuseWritableFile(path, old, options, out, to), out);
    }
    rocksdb::IOStatus NewDirectory(const std::string &path, io options, std::unique_ptr<rocksdb::FSDirectory> *out, trace to) override
    {
        return noted<noting_folder>(target()->NewDirectory(path, options, out, to), out);
    }

  private:
    template <typename noting, typename made> rocksdb::IOStatus noted(rocksdb::IOStatus status, std::unique_ptr<made> *out)
    {
        if (status.ok()) { *out = std::make_unique<noting>(std::move(*out), notes_); }
        return status;
    }

    syncs *notes_;
};
} // namespace

struct stoa_rocksdb_disk {
    syncs notes;
    std::unique_ptr<rocksdb::Env> env{rocksdb::NewCompositeEnv(std::make_shared<noting_disk>(&notes))};
};

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

extern "C" stoa_rocksdb_disk *stoa_rocksdb_disk_new(void)
{
    return new stoa_rocksdb_disk;
}

extern "C" void stoa_rocksdb_disk_free(stoa_rocksdb_disk *disk)
{
    delete disk;
}

extern "C" void stoa_rocksdb_disk_use(stoa_rocksdb_disk *disk, rocksdb_options_t *options)
{
    options->rep.env = disk->env.get();
}

extern "C" bool stoa_rocksdb_disk_failed(const stoa_rocksdb_disk *disk)
{
    return disk->notes.failed();
}

extern "C" void stoa_rocksdb_disk_settle(stoa_rocksdb_disk *disk)
{
    disk->notes.settle();
}
