//! What training does element by element: each operation one pass, in place, in pieces for the threads where there is
//! enough to share.
//!
//! Pieces are cut by the shape alone, and what they add up is added in their order.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::simd::{exp_of_negative, sigmoid};
use super::{Activation, Head, Loss, Matrix, Scaling, Update};

/// Elements of a piece: enough to be worth a task of its own.
const PIECE: usize = 1 << 16;

/// `work` compiled for the machine's instruction set.
#[inline(always)]
fn dispatch<T>(work: impl FnOnce() -> T) -> T {
    struct Work<F>(F);
    impl<T, F: FnOnce() -> T> WithSimd for Work<F> {
        type Output = T;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> T {
            (self.0)()
        }
    }
    Arch::new().dispatch(Work(work))
}

/// Calls `work` with each piece of `values`, which is of whole rows, and its first row; gives what it returns, in order.
fn in_pieces<T: Send>(
    values: &mut [f32],
    columns: usize,
    work: impl Fn(usize, &mut [f32]) -> T + Sync,
) -> Vec<T> {
    let rows = (PIECE / columns.max(1)).max(1);
    let length = rows * columns.max(1);
    if values.len() <= length {
        return vec![dispatch(
            #[inline(always)]
            || work(0, values),
        )];
    }
    let pieces = values.par_chunks_mut(length).enumerate();
    let piece = |(piece, values): (usize, &mut [f32])| {
        dispatch(
            #[inline(always)]
            || work(piece * rows, values),
        )
    };
    pieces.map(piece).collect()
}

/// out := the rows of `x` of these numbers, scaled.
pub(super) fn gather(x: &Matrix, scaling: Option<&Scaling<Matrix>>, rows: &[u32], out: &mut [f32]) {
    in_pieces(
        out,
        x.columns,
        #[inline(always)]
        |first, out| {
            let chosen = &rows[first..];
            for (out, &row) in out.chunks_exact_mut(x.columns.max(1)).zip(chosen) {
                let row = x.row(row as usize);
                let Some(Scaling { mean, deviation }) = scaling else {
                    out.copy_from_slice(row);
                    continue;
                };
                let places = out.iter_mut().zip(row).zip(mean.values.iter().zip(deviation.values.iter()));
                for ((out, &value), (&mean, &deviation)) in places {
                    *out = (value - mean) / deviation;
                }
            }
        },
    );
}

/// z := (ŷ − y) / m; gives m·J.
pub(super) fn output_error(head: Head, z: &mut Matrix, y: &[f32]) -> f64 {
    let (samples, columns) = (z.rows as f32, z.columns);
    let share = head.target_columns(columns);
    let costs = in_pieces(
        &mut z.values,
        columns,
        #[inline(always)]
        |first, z| {
            let mut cost = 0.0;
            for (row, targets) in z.chunks_exact_mut(columns).zip(y[first * share..].chunks_exact(share)) {
                cost += match head {
                    Head::Identity => squared_errors(row, targets),
                    Head::Sigmoid => log_losses(row, targets),
                    Head::Softmax => classified(row, targets[0]),
                };
                for error in row {
                    *error /= samples;
                }
            }
            cost
        },
    );
    costs.into_iter().sum()
}

/// z := z − y of a row; gives Σ(z − y)² / 2.
#[inline(always)]
fn squared_errors(row: &mut [f32], targets: &[f32]) -> f64 {
    let mut cost = 0.0;
    for (z, &y) in row.iter_mut().zip(targets) {
        let error = f64::from(*z) - f64::from(y);
        cost += error * error / 2.0;
        *z = error as f32;
    }
    cost
}

/// z := ŷ − y of a row; gives the log losses. NaN where a label has none.
#[inline(always)]
fn log_losses(row: &mut [f32], targets: &[f32]) -> f64 {
    let mut cost = 0.0;
    for (place, &y) in row.iter_mut().zip(targets) {
        let y = if (0.0..=1.0).contains(&y) { y } else { f32::NAN };
        let (z, y) = (f64::from(*place), f64::from(y));
        cost += Loss::LogLoss.cost(z, y);
        *place = (Loss::LogLoss.prediction(z) - y) as f32;
    }
    cost
}

/// z := softmax(z) − the row of the class; gives −ln ŷ of it. NaN where the label is none.
#[inline(always)]
fn classified(row: &mut [f32], label: f32) -> f64 {
    let Some(class) = Head::class(f64::from(label), row.len()) else {
        row.fill(f32::NAN);
        return f64::NAN;
    };
    let own = row[class];
    let (largest, logarithm) = softmax(row);
    row[class] -= 1.0;
    logarithm + (f64::from(largest) - f64::from(own))
}

/// z := eᶻ / Σeᶻ; gives the maximum, which is taken off z, and ln Σeᶻ of what is left.
#[inline(always)]
fn softmax(row: &mut [f32]) -> (f32, f64) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for z in row.iter_mut() {
        *z = exp_of_negative(*z - largest);
    }
    for &power in row.iter() {
        sum += f64::from(power);
    }
    let inverse = 1.0 / sum;
    for z in row {
        *z = (f64::from(*z) * inverse) as f32;
    }
    (largest, sum.ln())
}

/// z := ŷ
pub(super) fn predictions(head: Head, z: &mut Matrix) {
    let columns = z.columns;
    in_pieces(
        &mut z.values,
        columns,
        #[inline(always)]
        |_, z| match head {
            Head::Identity => {}
            Head::Sigmoid => z.iter_mut().for_each(|z| *z = sigmoid(*z)),
            Head::Softmax => z.chunks_exact_mut(columns.max(1)).for_each(|row| _ = softmax(row)),
        },
    );
}

/// gradient := gradient ⊙ g′
pub(super) fn backward(activation: Activation, output: &[f32], gradient: &mut [f32]) {
    if activation == Activation::Identity {
        return;
    }
    in_pieces(
        gradient,
        1,
        #[inline(always)]
        |first, gradient| {
            let places = gradient.iter_mut().zip(&output[first..]);
            match activation {
                Activation::Identity => {}
                Activation::Relu => places.for_each(|(d, &a)| *d = if a > 0.0 { *d } else { 0.0 }),
                Activation::Sigmoid => places.for_each(|(d, &a)| *d *= a * (1.0 - a)),
            }
        },
    );
}

/// One step of `w`. There are as many states as the rule keeps.
pub(super) fn update(rule: Update, w: &mut [f32], gradient: &[f32], state: &mut [Matrix]) {
    match (rule, state) {
        (Update::Descent { learning_rate, l2 }, _) => {
            let (rate, l2) = (learning_rate as f32, l2 as f32);
            each(
                [w],
                gradient,
                #[inline(always)]
                move |[w]: [&mut [f32]; 1], gradient: &[f32]| {
                    for (w, &gradient) in w.iter_mut().zip(gradient) {
                        *w -= rate * (gradient + l2 * *w);
                    }
                },
            );
        }
        (Update::Momentum { learning_rate, momentum, l2 }, [v]) => {
            let (rate, momentum, l2) = (learning_rate as f32, momentum as f32, l2 as f32);
            each(
                [w, &mut v.values],
                gradient,
                #[inline(always)]
                move |[w, v]: [&mut [f32]; 2], gradient: &[f32]| {
                    for ((w, v), &gradient) in w.iter_mut().zip(v).zip(gradient) {
                        *v = momentum * *v + (gradient + l2 * *w);
                        *w -= rate * *v;
                    }
                },
            );
        }
        (Update::Adam { learning_rate, beta1, beta2, epsilon, step, l2 }, [m, v]) => {
            let (rate, epsilon) = Update::corrected([learning_rate, beta1, beta2, epsilon], step);
            let (rate, epsilon, l2) = (rate as f32, epsilon as f32, l2 as f32);
            let [keep1, keep2] = [beta1, beta2].map(|beta| beta as f32);
            let [take1, take2] = [beta1, beta2].map(|beta| (1.0 - beta) as f32);
            each(
                [w, &mut m.values, &mut v.values],
                gradient,
                #[inline(always)]
                move |[w, m, v]: [&mut [f32]; 3], gradient: &[f32]| {
                    for (((w, m), v), &gradient) in w.iter_mut().zip(m).zip(v).zip(gradient) {
                        let g = gradient + l2 * *w;
                        *m = keep1 * *m + take1 * g;
                        *v = keep2 * *v + take2 * (g * g);
                        *w -= rate * *m / (v.sqrt() + epsilon);
                    }
                },
            );
        }
        _ => unreachable!("the number of states was checked"),
    }
}

/// Calls `work` with pieces of `values` and the same pieces of `gradient`.
fn each<const N: usize>(
    values: [&mut [f32]; N],
    gradient: &[f32],
    work: impl Fn([&mut [f32]; N], &[f32]) + Copy + Send + Sync,
) {
    if gradient.len() <= PIECE {
        return dispatch(
            #[inline(always)]
            || work(values, gradient),
        );
    }
    let (left, right) = gradient.split_at(gradient.len().div_ceil(2));
    let mut halves = values.map(|values| values.split_at_mut(left.len()));
    let firsts = halves.each_mut().map(|(first, _)| std::mem::take(first));
    let seconds = halves.map(|(_, second)| second);
    rayon::join(|| each(firsts, left, work), || each(seconds, right, work));
}
