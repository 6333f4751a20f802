/* listener.cc - rocksdb/listener.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/rocksdb/listener.h"

#include <rocksdb/listener.h>
#include <rocksdb/options.h>

#include <memory>
#include <string>

/* As RocksDB's db/c.cc has it. tests/unit/storage/rocksdb_sync_test.c would see databases that go on, if this were to change. */
struct rocksdb_options_t {
    rocksdb::Options rep;
};

namespace
{
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

extern "C" void stoa_rocksdb_listen(rocksdb_options_t *options)
{
    static const std::shared_ptr<rocksdb::EventListener> listener = std::make_shared<ender>();
    options->rep.listeners.push_back(listener);
}
