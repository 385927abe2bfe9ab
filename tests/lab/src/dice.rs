//! A random number generator that gives the same numbers for the same seed.

/// A generator.
#[derive(Debug, Clone)]
pub struct TestRng(u64);

impl TestRng {
    /// Creates a generator with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number below `limit`.
    ///
    /// # Panics
    /// Panics if it is 0.
    pub fn below(&mut self, end: usize) -> usize {
        // SplitMix64: short, and good enough to choose what to break.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        usize::try_from(bits % u64::try_from(end).expect("it fits")).expect("it fits")
    }

    /// Returns a number in this range, its end included.
    pub fn between(&mut self, begin: usize, end: usize) -> usize {
        begin + self.below(end - begin + 1)
    }

    /// Returns true with this probability in percent.
    pub fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }

    /// Returns one of these values.
    ///
    /// # Panics
    /// Panics if there is none.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}
