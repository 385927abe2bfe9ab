//! What becomes of memory that was given back.

use std::hint::black_box;

/// Larger than what any but huge tables take in one block, smaller than the 32 MiB beyond which
/// glibc does not learn (`DEFAULT_MMAP_THRESHOLD_MAX`).
const BLOCK: usize = 16 << 20;

/// Keeps it for what comes next.
///
/// glibc gets blocks of 128 KiB and more from the kernel one by one and gives them back at once.
/// A plan of a large table is several such blocks after one another, and each would be new memory,
/// which costs more than what is done with it. Giving back one large block, which nobody has
/// touched, makes glibc keep all that are smaller (mallopt(3), on `M_MMAP_THRESHOLD`). Other
/// allocators do no worse for it.
pub(crate) fn raise_mmap_threshold() {
    let mut block = Vec::<u8>::new();
    // Where there is no room for it, all is as it was.
    let _ = black_box(&mut block).try_reserve_exact(BLOCK);
}
