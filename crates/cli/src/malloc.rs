//! Tunes malloc.

use std::hint::black_box;

/// Larger than any single block that a plan needs, except for huge tables, and smaller than 32 MiB,
/// beyond which glibc does not adapt its threshold (`DEFAULT_MMAP_THRESHOLD_MAX`).
const BLOCK: usize = 16 << 20;

/// Raises glibc's mmap threshold, so that freed memory is reused.
///
/// glibc maps blocks of 128 KiB and more individually and unmaps them when they are freed. A plan of
/// a large table allocates several such blocks one after another, each of which would be fresh
/// memory, and mapping it costs more than using it. Freeing one large, untouched block makes glibc
/// keep all smaller ones (mallopt(3), on `M_MMAP_THRESHOLD`). Other allocators are not affected.
pub(crate) fn raise_mmap_threshold() {
    let mut block = Vec::<u8>::new();
    // If the allocation fails, the threshold is unchanged.
    let _ = black_box(&mut block).try_reserve_exact(BLOCK);
}
