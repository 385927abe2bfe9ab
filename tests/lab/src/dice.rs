//! A random number generator that gives the same numbers for the same seed.

/// A generator.
#[derive(Debug, Clone)]
pub struct TestRng(u64);

impl TestRng {
    /// Begins with that seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below that one.
    ///
    /// # Panics
    /// Where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        // SplitMix64: few lines, and good enough to choose what to break.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        usize::try_from(bits % u64::try_from(end).expect("it fits")).expect("it fits")
    }

    /// A number of that range, its end included.
    pub fn between(&mut self, begin: usize, end: usize) -> usize {
        begin + self.below(end - begin + 1)
    }

    /// True so many times of a hundred.
    pub fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }

    /// One of these.
    ///
    /// # Panics
    /// Where there is none.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}
