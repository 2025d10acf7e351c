//! Which rung of the ladder is the fastest at which shape, and the sizes of [`Rungs`] that this makes.

use std::num::NonZeroUsize;

use kernels::matmul::{tf32x3, warp_tiled, wgmma};

use super::cases::{Scale, parts_of};
use super::row::Row;
use crate::engine::Rungs;
use crate::report::{TextTable, significant};

/// The rungs in the order of the columns.
const NAMES: [&str; 7] = ["tiled", "split-K", "warp-tiled", "tf32x3", "wgmma", "tf32", "bf16"];
const TILED: usize = 0;
const SPLIT_K: usize = 1;
const WARP_TILED: usize = 2;
const TF32X3: usize = 3;
const WGMMA: usize = 4;
const TF32: usize = 5;
const BF16: usize = 6;
/// The kernel of split-K, which is all of a product that is not split; and of one that is, both.
pub(super) const SPLIT: &str = "matmul_split_k";
pub(super) const SPLIT_IN_TWO: &str = "matmul_split_k + matmul_split_k_finish";
/// Their kernels.
const KERNELS: [&str; NAMES.len()] = [
    "matmul_tiled",
    SPLIT,
    "matmul_warp_tiled",
    "matmul_tf32x3",
    "matmul_wgmma",
    "matmul_tf32",
    "matmul_bf16",
];
/// Those that are as accurate as fp32.
const FP32: [usize; 5] = [TILED, SPLIT_K, WARP_TILED, TF32X3, WGMMA];

/// The names of what takes part.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    KERNELS.into_iter().chain([SPLIT_IN_TWO])
}

/// Seconds of each rung at one shape, of those that were timed and may be taken there.
struct Contest {
    sides: [usize; 3],
    /// Whether the product is split, which its shape alone decides.
    split: bool,
    times: [Option<f64>; NAMES.len()],
}

impl Contest {
    /// Tiles of 128 × 128.
    fn tiles(&self) -> usize {
        self.sides[0].div_ceil(warp_tiled::TILE) * self.sides[1].div_ceil(warp_tiled::TILE)
    }

    /// The fastest of these rungs, with its time.
    fn fastest(&self, rungs: &[usize]) -> Option<(usize, f64)> {
        let timed = rungs.iter().filter_map(|&rung| Some((rung, self.times[rung]?)));
        timed.min_by(|(_, a), (_, b)| a.total_cmp(b))
    }
}

/// What was timed, by shape.
fn contests(rows: &[Row], scale: Scale) -> Vec<Contest> {
    let median = |name: &str, sides: [usize; 3]| {
        let row = rows.iter().find(|row| row.name == name && row.sides == sides)?;
        row.figures().map(|figures| figures.seconds.median)
    };
    let mut shapes: Vec<[usize; 3]> = Vec::new();
    for row in rows {
        if !shapes.contains(&row.sides) {
            shapes.push(row.sides);
        }
    }
    let contest = |sides: [usize; 3]| {
        let [_, _, k] = sides;
        let split = parts_of(scale, sides) > 1;
        let mut times = KERNELS.map(|kernel| median(kernel, sides));
        times[SPLIT_K] = median(if split { SPLIT_IN_TWO } else { SPLIT }, sides);
        times[TF32X3] = times[TF32X3].filter(|_| k >= tf32x3::LEAST_K);
        times[WGMMA] = times[WGMMA].filter(|_| k >= wgmma::LEAST_K);
        Contest { sides, split, times }
    };
    shapes.into_iter().map(contest).collect()
}

/// From which size on a rung is taken in place of what is taken below, so that all shapes together lose least (in the
/// geometric mean); none if it is best never taken. A point is a size, the time of the one and of the other.
fn threshold(points: &[(usize, f64, f64)]) -> Option<usize> {
    let mut sizes: Vec<usize> = points.iter().map(|(size, ..)| *size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let loss = |from: Option<usize>| {
        let chosen = |&(size, below, above): &(usize, f64, f64)| {
            if from.is_some_and(|from| size >= from) { above.ln() } else { below.ln() }
        };
        points.iter().map(chosen).sum::<f64>()
    };
    // Never first: a rung has to be better than that.
    let candidates = [None].into_iter().chain(sizes.into_iter().map(Some));
    candidates.min_by(|a, b| loss(*a).total_cmp(&loss(*b))).flatten()
}

/// Sizes for the dispatcher.
#[derive(Debug, PartialEq)]
struct Found {
    rungs: Rungs,
    /// How many times as long as the fastest of its shape fp32 takes: in the mean, and at the worst.
    loss: [f64; 2],
    /// Where it is the worst.
    worst: String,
}

fn find(contests: &[Contest]) -> Found {
    // What is taken so far, at each shape: a product that may be split is.
    let first = |contest: &Contest| contest.times[if contest.split { SPLIT_K } else { TILED }];
    let mut taken: Vec<Option<f64>> = contests.iter().map(first).collect();
    // Takes a rung from the size on from which that pays, among the shapes that may have it.
    let take = |taken: &mut [Option<f64>],
                rung: usize,
                size: fn(&Contest) -> usize,
                may: fn(&Contest) -> bool| {
        let among = || contests.iter().zip(0..).filter(|(contest, _)| may(contest));
        let point = |(contest, i): (&Contest, usize)| Some((size(contest), taken[i]?, contest.times[rung]?));
        let from = threshold(&among().filter_map(point).collect::<Vec<_>>());
        for (contest, i) in among().filter(|(contest, _)| from.is_some_and(|from| size(contest) >= from)) {
            taken[i] = contest.times[rung].or(taken[i]);
        }
        from
    };
    let shorter: fn(&Contest) -> usize = |contest| contest.sides[0].min(contest.sides[1]);
    let split_k = take(&mut taken, SPLIT_K, shorter, |contest| !contest.split);
    let warp_tiled = take(&mut taken, WARP_TILED, Contest::tiles, |contest| !contest.split);
    let simple = taken.clone();
    let by_warps = take(&mut taken, TF32X3, Contest::tiles, |_| true);
    let by_warpgroups = take(&mut taken, WGMMA, Contest::tiles, |_| true);
    let rounded = contests.iter().zip(&simple).flat_map(|(contest, simple)| {
        [TF32, BF16].map(|rung| Some((contest.tiles(), (*simple)?, contest.times[rung]?)))
    });
    let tensor_cores = threshold(&rounded.flatten().collect::<Vec<_>>());
    let loss = |(contest, taken): (&Contest, &Option<f64>)| {
        Some(((*taken)? / contest.fastest(&FP32)?.1, contest.sides))
    };
    let mut losses: Vec<(f64, [usize; 3])> = contests.iter().zip(&taken).filter_map(loss).collect();
    losses.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mean = (losses.iter().map(|(loss, _)| loss.ln()).sum::<f64>() / losses.len().max(1) as f64).exp();
    let (most, worst) = losses
        .last()
        .map_or((1.0, "nowhere".to_owned()), |(loss, [m, n, k])| (*loss, format!("{m}×{n}×{k}")));
    let [split_k, warp_tiled, tf32x3, wgmma, tensor_cores] =
        [split_k, warp_tiled, by_warps, by_warpgroups, tensor_cores]
            .map(|size| size.and_then(NonZeroUsize::new));
    let rungs = Rungs { split_k, warp_tiled, tf32x3, wgmma, tensor_cores };
    Found { rungs, loss: [mean, most], worst }
}

/// Sizes for the dispatcher, each of which loses least against the fastest rung of each shape, given those before it; and a text that
/// shows them beside the times.
pub(super) fn measured(rows: &[Row], scale: Scale) -> (Rungs, String) {
    let contests = contests(rows, scale);
    let mut table =
        TextTable::new(["shape"].into_iter().chain(NAMES).chain(["for fp32", "for tf32", "for bf16"]));
    for contest in &contests {
        let [m, n, k] = contest.sides;
        let times =
            contest.times.map(|time| time.map_or("–".to_owned(), |time| significant(1e6 * time, 3)));
        let fastest = [&FP32[..], &[&FP32[..], &[TF32]].concat(), &[&FP32[..], &[BF16]].concat()]
            .map(|rungs| contest.fastest(rungs).map_or("–", |(rung, _)| NAMES[rung]).to_owned());
        table.row([format!("{m}×{n}×{k}")].into_iter().chain(times).chain(fastest));
    }
    let Found { rungs, loss, worst } = find(&contests);
    let from = |size: Option<NonZeroUsize>| size.map_or("never".to_owned(), |from| format!("from {from} on"));
    let text = format!(
        "
## Rungs

Median µs, and which is the fastest for a caller who asks for that precision.

```text
{table}```

From which sizes on each rung is to be taken, each the one that loses least here after those before it:

- split-K in place of the tiled rung, by the shorter side of C: {}
- the warp-tiled rung, by tiles of 128 × 128: {}
- three products of tf32 for fp32, by tiles: by warps {}; by warpgroups {}
- tf32 and bf16, by tiles: {}

With it fp32 takes {} times as long as the fastest rung of each shape in the geometric mean, {} times at {worst}.
",
        from(rungs.split_k),
        from(rungs.warp_tiled),
        from(rungs.tf32x3),
        from(rungs.wgmma),
        from(rungs.tensor_cores),
        significant(loss[0], 4),
        significant(loss[1], 4),
    );
    (rungs, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contest(sides: [usize; 3], split: bool, times: [f64; 7]) -> Contest {
        Contest { sides, split, times: times.map(|time| (time > 0.0).then_some(time)) }
    }

    /// Of sizes, 0 for never.
    fn rungs(sizes: [usize; 5]) -> Rungs {
        let [split_k, warp_tiled, tf32x3, wgmma, tensor_cores] = sizes.map(NonZeroUsize::new);
        Rungs { split_k, warp_tiled, tf32x3, wgmma, tensor_cores }
    }

    #[test]
    fn a_threshold_is_where_all_together_lose_least() {
        assert_eq!(threshold(&[]), None);
        assert_eq!(threshold(&[(1, 1.0, 2.0), (9, 1.0, 2.0)]), None, "never better");
        assert_eq!(threshold(&[(1, 2.0, 1.0), (9, 2.0, 1.0)]), Some(1), "always better");
        assert_eq!(threshold(&[(1, 1.0, 2.0), (4, 1.0, 1.0), (9, 2.0, 1.0)]), Some(4));
        // It is worse at 6, but not by as much as it is better at 4.
        assert_eq!(threshold(&[(1, 1.0, 2.0), (4, 3.0, 1.0), (6, 1.0, 2.0), (9, 2.0, 1.0)]), Some(4));
        assert_eq!(threshold(&[(9, 2.0, 1.0), (6, 1.0, 4.0), (4, 3.0, 1.0), (1, 1.0, 2.0)]), Some(9));
    }

    #[test]
    fn each_size_is_found_after_those_before_it() {
        let contests = [
            // tiled, split-K, warp-tiled, tf32x3, wgmma, tf32, bf16
            contest([16, 1000, 4000], true, [9.0, 2.0, 8.0, 9.0, 9.0, 5.0, 5.0]),
            contest([32, 32, 100], false, [1.0, 2.0, 3.0, 4.0, 5.0, 3.0, 3.0]),
            contest([200, 200, 100], false, [2.0, 1.0, 2.0, 3.0, 3.0, 3.0, 3.0]),
            contest([1000, 1000, 100], false, [9.0, 4.0, 3.0, 2.0, 2.5, 1.0, 1.0]),
            contest([4000, 4000, 100], false, [90.0, 40.0, 30.0, 20.0, 10.0, 9.0, 9.0]),
            contest([4000, 4000, 8], false, [9.0, 4.0, 3.0, 0.0, 0.0, 2.0, 2.0]),
        ];
        let found = find(&contests);
        assert_eq!(found.rungs, rungs([200, 64, 64, 1024, 64]));
        assert!((found.loss[0] - 1.0).abs() < 1e-12 && found.loss[1] == 1.0, "{found:?}");
        let slow = Contest {
            times: [Some(9.0), None, None, Some(3.0), None, None, None],
            ..contest([1, 1, 99], false, [0.0; 7])
        };
        let found = find(&[slow]);
        assert_eq!(found.rungs, rungs([0, 0, 1, 0, 0]));
        let nothing = Found { rungs: rungs([0; 5]), loss: [1.0, 1.0], worst: "nowhere".to_owned() };
        assert_eq!(find(&[]), nothing);
    }
}
