//! The order in which blocks and threads run.

/// The order in which blocks, and a block's threads between barriers, take their turns. A correct kernel gives the
/// same results with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By index.
    #[default]
    Forward,
    /// By index, from the last.
    Backward,
    /// Blocks, warps and the lanes of each warp at random, by this seed.
    Shuffled(u64),
}

impl Order {
    /// The block that runs at a position, out of so many.
    pub(crate) fn block(self, position: u32, blocks: u32) -> u32 {
        match self {
            Order::Forward => position,
            Order::Backward => blocks - 1 - position,
            Order::Shuffled(seed) => {
                // A step that has no divisor in common with the number of blocks meets each of them once.
                let mut random = Random(seed);
                let blocks = u64::from(blocks);
                let first = random.next() % blocks;
                let step = loop {
                    let step = random.next() % blocks;
                    if greatest_common_divisor(step, blocks) == 1 {
                        break step;
                    }
                };
                ((first + step * u64::from(position)) % blocks) as u32
            }
        }
    }

    /// The threads of a block in the order in which they are resumed: warp after warp.
    pub(crate) fn threads(self, block: u32, threads: u16, order: &mut Vec<u16>) {
        order.clear();
        match self {
            Order::Forward => order.extend(0..threads),
            Order::Backward => order.extend((0..threads).rev()),
            Order::Shuffled(seed) => {
                let mut random = Random(seed ^ u64::from(block).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let mut warps: Vec<u16> = (0..threads.div_ceil(32)).collect();
                random.shuffle(&mut warps);
                for warp in warps {
                    let first = order.len();
                    order.extend(warp * 32..(warp * 32 + 32).min(threads));
                    random.shuffle(&mut order[first..]);
                }
            }
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            let j = (self.next() % (i as u64 + 1)) as usize;
            values.swap(i, j);
        }
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
