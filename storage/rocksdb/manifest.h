/* manifest.h - the end of RocksDB's MANIFEST behind a power cut.
 *
 * A file system may keep the new size of a file and not yet what was appended, which then reads as zeroes from a sector on.
 * RocksDB takes a record that just ends for one that was never whole, but refuses one that ends in zeroes. It syncs each record
 * of its MANIFEST before anything stands on it, so the two are the same, and the second can be cut off. What must not be: a record that was synced and rots. RocksDB would remove
 * the tables that it names, and the log may be in them alone.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ROCKSDB_MANIFEST_H
#define STOA_STORAGE_ROCKSDB_MANIFEST_H

#include <stdbool.h>

/* Cut off the record at the end of the MANIFEST of the database in folder path, if zeroes from a sector to the file's end are
 * what is wrong with it; whether it was. Anything else that is wrong is left as it is. The database is closed. Blocks. */
bool stoa_manifest_mend(const char *path);

#endif
