/* disk.c - what happens to simulated disks: crashes, failing syncs, no space, rot; all of it from their seeds.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/sim/disk.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { TORN_PERMILLE = 500, MARK_LOST_PERMILLE = 500, SILENT_PERMILLE = 500 };

static _Thread_local stoa_sim_disk *disks;

static stoa_sim_disk *find(const char *name)
{
    stoa_sim_disk *disk = disks;
    while (disk && strcmp(disk->name, name) != 0) {
        disk = disk->next;
    }
    return disk;
}

stoa_err stoa_sim_disk_get(const char *name, uint64_t seed, stoa_sim_disk **out)
{
    size_t length = strlen(name);
    if (length == 0 || length > STOA_SIM_DISK_NAME_MAX) {
        return STOA_FAIL(STOA_E_INVALID, "disk name of %zu bytes", length);
    }

    stoa_sim_disk *disk = find(name);
    if (!disk) {
        disk = calloc(1, sizeof *disk);
        if (!disk) { return STOA_FAIL(STOA_E_NOMEM, "disk %s", name); }
        memcpy(disk->name, name, length);
        stoa_random_seed(&disk->random, seed);
        stoa_random_seed(&disk->side_random, ~seed);
        disk->next = disks;
        disks = disk;
    }
    *out = disk;
    return STOA_OK;
}

void stoa_sim_disk_cut(stoa_sim_disk *disk, size_t index)
{
    while (disk->count > index) {
        free(disk->blocks[--disk->count].bytes);
    }
    if (disk->synced > disk->count) { disk->synced = disk->count; }
}

void stoa_sim_disk_part(stoa_sim_handle *h)
{
    if (h->disk) { h->disk->open = NULL; }
    h->disk = NULL;
    h->failed = STOA_E_CLOSED;
}

void stoa_sim_disk_free(stoa_sim_disk *disk)
{
    if (!disk) { return; }
    stoa_sim_disk **at = &disks;
    while (*at != disk) {
        at = &(*at)->next;
    }
    *at = disk->next;
    if (disk->open) { stoa_sim_disk_part(disk->open); }
    stoa_sim_disk_cut(disk, 0);
    stoa_sim_side_free(&disk->side);
    free(disk->blocks);
    free(disk);
}

void stoa_sim_disks_free(void)
{
    while (disks) {
        stoa_sim_disk_free(disks);
    }
}

void stoa_sim_disk_crash(stoa_sim_disk *disk)
{
    if (disk->open) { stoa_sim_disk_part(disk->open); }
    disk->crashes++;

    size_t unsynced = disk->count - disk->synced;
    size_t kept = disk->synced + (size_t)stoa_random_below(&disk->random, unsynced + 1);
    size_t lost = disk->count - kept;
    if (lost > 0 && stoa_random_chance(&disk->random, TORN_PERMILLE)) {
        stoa_sim_stored *torn = &disk->blocks[kept];
        torn->size_bytes = (size_t)stoa_random_below(&disk->random, torn->size_bytes);
        kept++;
    }
    stoa_sim_disk_cut(disk, kept);
    disk->lost_blocks += lost;

    stoa_sim_side_crash(&disk->side, (size_t)stoa_random_below(&disk->side_random, disk->side.batches + 1));

    /* What survived a power cut is on the platter. */
    disk->synced = disk->count;
    if (stoa_random_chance(&disk->random, MARK_LOST_PERMILLE)) { disk->mark = disk->mark_on_platter; }
    disk->mark_on_platter = disk->mark;
}

void stoa_sim_disk_fail_sync(stoa_sim_disk *disk, uint32_t nth)
{
    disk->syncs_to_failure = nth;
}

void stoa_sim_disk_fill(stoa_sim_disk *disk, uint32_t appends)
{
    disk->appends_refused = appends;
}

void stoa_sim_disk_fail_put(stoa_sim_disk *disk, uint32_t nth)
{
    disk->puts_to_failure = nth;
}

void stoa_sim_disk_lose_side(stoa_sim_disk *disk)
{
    stoa_sim_side_free(&disk->side);
}

stoa_err stoa_sim_disk_rot_side(stoa_sim_disk *disk, stoa_space space)
{
    size_t count = disk->side.now[space].count;
    if (count == 0) { return STOA_FAIL(STOA_E_NOT_FOUND, "the side store is empty"); }
    size_t n = (size_t)stoa_random_below(&disk->side_random, count);
    uint64_t bit = stoa_random_next(&disk->side_random);
    stoa_sim_side_rot(&disk->side, space, n, bit, stoa_random_chance(&disk->side_random, SILENT_PERMILLE));
    return STOA_OK;
}

size_t stoa_sim_disk_block(const stoa_sim_disk *disk, uint64_t position)
{
    size_t low = 0, high = disk->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (disk->blocks[middle].last < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

stoa_err stoa_sim_disk_rot(stoa_sim_disk *disk, uint64_t position)
{
    size_t index = stoa_sim_disk_block(disk, position);
    if (index == disk->count || disk->blocks[index].size_bytes == 0) {
        return STOA_FAIL(STOA_E_NOT_FOUND, "position %" PRIu64, position);
    }
    stoa_sim_stored *block = &disk->blocks[index];
    uint64_t bit = stoa_random_below(&disk->random, (uint64_t)block->size_bytes * 8);
    block->bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    disk->rotten.last = block->last;
    disk->rotten.bit = bit;
    return STOA_OK;
}

stoa_err stoa_sim_disk_mend(stoa_sim_disk *disk)
{
    uint64_t last = disk->rotten.last, bit = disk->rotten.bit;
    size_t index = last ? stoa_sim_disk_block(disk, last) : disk->count;
    if (index == disk->count || disk->blocks[index].last != last || bit / 8 >= disk->blocks[index].size_bytes) {
        return STOA_FAIL(STOA_E_NOT_FOUND, "nothing is rotten");
    }
    disk->blocks[index].bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    disk->rotten.last = 0;
    return STOA_OK;
}

void stoa_sim_disk_look(const stoa_sim_disk *disk, stoa_sim_disk_view *out)
{
    *out = (stoa_sim_disk_view){.blocks = disk->count,
                                .synced_blocks = disk->synced,
                                .syncs = disk->syncs,
                                .crashes = disk->crashes,
                                .marked = disk->mark.position,
                                .lost_blocks = disk->lost_blocks,
                                .cut_blocks = disk->cut_blocks};
    for (size_t i = 0; i < disk->count; i++) {
        out->bytes += disk->blocks[i].size_bytes;
    }
}
