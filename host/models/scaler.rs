//! Features brought to one scale, without which one learning rate cannot suit them all.

use serde::{Deserialize, Serialize};

use crate::data::Table;
use crate::engine::{Engine, Moments, Scaling};
use crate::{Error, Result};

/// How features are scaled before descent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// (x − mean) / standard deviation of each column, with the population's deviation (divisor m).
    #[default]
    ZScore,
    /// As they are.
    None,
}

impl std::fmt::Display for Scale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Scale::ZScore => "zscore",
            Scale::None => "none",
        })
    }
}

/// What was learnt of the features' scale: part of the model, and applied to all that it predicts from.
///
/// Means and deviations are values of `f32`, so that every engine applies the same ones.
///
/// **Constant columns.** A column with the same value in all rows tells nothing about the target, and its standard
/// deviation is 0, by which nothing can be divided. It is taken as 1: the column becomes 0 for every sample, its weight stays exactly 0,
/// and the other weights are what they would be without it. [`Scaler::fit`] says which columns these are.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaler {
    scale: Scale,
    moments: Moments,
}

impl Scaler {
    /// Learns means and deviations from `x` (samples × features), which holds `table`'s values on `engine`. Also
    /// gives the numbers of the columns that are constant.
    ///
    /// # Errors
    /// No rows; values so large that a mean or a deviation is beyond `f32`, or that differ by so little that their
    /// variance is below it; or the engine failed.
    pub fn fit<E: Engine>(
        scale: Scale,
        engine: &E,
        x: &E::Matrix,
        table: &Table,
    ) -> Result<(Self, Vec<usize>)> {
        match scale {
            Scale::ZScore => {
                let mut constants = Constants::default();
                constants.add(table.values().chunks_exact(table.columns().len()));
                Self::from_moments(engine.column_moments(x)?, table.columns(), &constants)
            }
            Scale::None => Ok((Self::none(table.columns().len()), Vec::new())),
        }
    }

    /// A scaler that leaves this many features as they are.
    pub(super) fn none(features: usize) -> Self {
        Self::from_parts(Scale::None, vec![0.0; features], vec![1.0; features])
    }

    /// As [`Scaler::fit`] by z-score, from the moments of the columns of these names.
    pub(super) fn from_moments(
        mut moments: Moments,
        columns: &[String],
        constants: &Constants,
    ) -> Result<(Self, Vec<usize>)> {
        let mut constant = Vec::new();
        for (j, name) in columns.iter().enumerate() {
            let (mean, deviation) = (moments.mean[j] as f32, moments.standard_deviation[j] as f32);
            (moments.mean[j], moments.standard_deviation[j]) = (mean.into(), deviation.into());
            if let Some(value) = constants.value(j) {
                // The value itself rather than a sum divided by m: the difference must be exactly 0.
                moments.mean[j] = value.into();
                moments.standard_deviation[j] = 1.0;
                constant.push(j);
            } else if !mean.is_finite() || !(deviation * deviation).is_finite() {
                return Err(Error::Data(format!(
                    "feature {name:?}: its values are too large to be squared in 32-bit floating point: use a larger \
                     unit"
                )));
            } else if deviation * deviation < f32::MIN_POSITIVE {
                return Err(Error::Data(format!(
                    "feature {name:?}: its values differ by too little to be squared in 32-bit floating point: use a \
                     smaller unit"
                )));
            }
        }
        Ok((Scaler { scale: Scale::ZScore, moments }, constant))
    }

    /// A scaler from its parts, one mean and deviation for each feature.
    pub(super) fn from_parts(scale: Scale, mean: Vec<f64>, standard_deviation: Vec<f64>) -> Self {
        Scaler { scale, moments: Moments { mean, standard_deviation } }
    }

    /// What `engine` needs to scale features as it reads them; `None` if they are left as they are.
    ///
    /// # Errors
    /// The engine failed.
    pub fn on<E: Engine>(&self, engine: &E) -> Result<Option<Scaling<E::Matrix>>> {
        match self.scale {
            Scale::ZScore => engine.scaling(&self.moments).map(Some),
            Scale::None => Ok(None),
        }
    }

    /// Weights and bias for the data in their own units, of weights and bias for scaled data:
    /// wⱼ / σⱼ and b − Σ wⱼ μⱼ / σⱼ.
    pub fn to_raw(&self, weights: &[f64], bias: f64) -> (Vec<f64>, f64) {
        let raw: Vec<f64> = weights.iter().zip(self.standard_deviation()).map(|(w, s)| w / s).collect();
        let shift: f64 = raw.iter().zip(self.mean()).map(|(w, mean)| w * mean).sum();
        (raw, bias - shift)
    }

    /// How the features are scaled.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// The mean of each feature; 0 if they are not scaled.
    pub fn mean(&self) -> &[f64] {
        &self.moments.mean
    }

    /// What each feature is divided by: its population standard deviation, or 1.
    pub fn standard_deviation(&self) -> &[f64] {
        &self.moments.standard_deviation
    }
}

/// The moments of columns that come in parts, put together as by T. Chan, G. Golub and R. LeVeque, "Algorithms for computing
/// the sample variance" (1983): each part adds to the error of a deviation a few units in its last place, however far the mean
/// is from 0. Those of one part are left as they are.
#[derive(Default)]
pub(super) struct Merged {
    samples: usize,
    moments: Option<Moments>,
}

impl Merged {
    /// Adds the moments of `samples` more samples, at least one.
    pub(super) fn add(&mut self, samples: usize, part: Moments) {
        self.samples += samples;
        let Some(all) = &mut self.moments else {
            self.moments = Some(part);
            return;
        };
        let share = samples as f64 / self.samples as f64;
        let columns = all.mean.iter_mut().zip(&mut all.standard_deviation);
        for ((mean, deviation), (of_part, spread)) in
            columns.zip(part.mean.iter().zip(&part.standard_deviation))
        {
            let difference = of_part - *mean;
            *mean += difference * share;
            let within = (1.0 - share) * *deviation * *deviation + share * spread * spread;
            *deviation = (within + difference * difference * share * (1.0 - share)).sqrt();
        }
    }

    /// Those of all samples; none, if there were no parts.
    pub(super) fn finish(self) -> Option<Moments> {
        self.moments
    }
}

/// For each column, whether all its values so far are the same.
#[derive(Default)]
pub(super) struct Constants {
    first: Vec<f32>,
    same: Vec<bool>,
}

impl Constants {
    /// Looks at more rows.
    pub(super) fn add<'a>(&mut self, mut rows: impl Iterator<Item = &'a [f32]>) {
        if self.first.is_empty()
            && let Some(first) = rows.next()
        {
            (self.first, self.same) = (first.to_vec(), vec![true; first.len()]);
        }
        let mut left = self.same.iter().filter(|same| **same).count();
        for row in rows {
            if left == 0 {
                break;
            }
            for ((same, first), value) in self.same.iter_mut().zip(&self.first).zip(row) {
                if *same && value != first {
                    *same = false;
                    left -= 1;
                }
            }
        }
    }

    /// The value of column `j` if there is but one.
    pub(super) fn value(&self, j: usize) -> Option<f32> {
        self.same[j].then(|| self.first[j])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{HostMatrix, Loop};

    fn fitted(columns: &[&str], values: &[f32]) -> Result<(Scaler, Vec<usize>, Vec<f64>)> {
        let table = Table::new(columns.iter().map(ToString::to_string).collect(), values.to_vec())?;
        let x = Loop.upload(table.rows(), columns.len(), values)?;
        let (scaler, constant) = Scaler::fit(Scale::ZScore, &Loop, &x, &table)?;
        Ok((scaler.clone(), constant, scaled(&x, &scaler)))
    }

    /// The values of `x` as the loop takes them: each column times a weight of 1, beside weights of 0.
    fn scaled(x: &HostMatrix<f64>, scaler: &Scaler) -> Vec<f64> {
        let (rows, columns) = x.shape();
        let scaling = scaler.on(&Loop).unwrap();
        let bias = Loop.upload(1, 1, &[0.0]).unwrap();
        let mut all = vec![0.0; rows * columns];
        for j in 0..columns {
            let unit: Vec<f32> = (0..columns).map(|k| if k == j { 1.0 } else { 0.0 }).collect();
            let weights = Loop.upload(columns, 1, &unit).unwrap();
            let column = Loop.matrix_vector(x, scaling.as_ref(), &weights, &bias).unwrap();
            Loop.read(&column).unwrap().into_iter().enumerate().for_each(|(i, x)| all[i * columns + j] = x);
        }
        all
    }

    /// Each of the 40 parts adds a few u of `f64` to a deviation, and as many to the difference of two means, which is
    /// beside a mean of 10⁶ deviations 10⁶ times as much of a deviation.
    #[test]
    fn moments_of_parts_are_those_of_all() {
        let values: Vec<f32> = (0..400).map(|i| 1e6 + ((i * i % 101) as f32 - 50.0) / 32.0).collect();
        let moments =
            |values: &[f32]| Loop.column_moments(&Loop.upload(values.len() / 2, 2, values).unwrap()).unwrap();
        let mut merged = Merged::default();
        for part in values.chunks(10) {
            merged.add(part.len() / 2, moments(part));
        }
        let (merged, whole) = (merged.finish().unwrap(), moments(&values));
        for j in 0..2 {
            assert!((merged.mean[j] - whole.mean[j]).abs() <= 1e6 * 40.0 * f64::EPSILON);
            let (one, other) = (merged.standard_deviation[j], whole.standard_deviation[j]);
            assert!((one - other).abs() <= 1e6 * 160.0 * f64::EPSILON, "{one}, {other}");
        }
        let mut one = Merged::default();
        one.add(200, moments(&values));
        assert_eq!(one.finish(), Some(whole));
        assert_eq!(Merged::default().finish(), None);
    }

    #[test]
    fn a_column_is_brought_to_mean_0_and_deviation_1() {
        let (scaler, constant, scaled) = fitted(&["a"], &[1.0, 3.0]).unwrap();
        assert_eq!((scaler.mean(), scaler.standard_deviation()), (&[2.0][..], &[1.0][..]));
        assert_eq!((constant, scaled), (vec![], vec![-1.0, 1.0]));
    }

    #[test]
    fn a_constant_column_becomes_exactly_0() {
        let (scaler, constant, scaled) = fitted(&["a", "b"], &[0.1, 1.0, 0.1, 2.0, 0.1, 9.0]).unwrap();
        assert_eq!((constant, scaler.standard_deviation()[0]), (vec![0], 1.0));
        assert!(scaled.iter().step_by(2).all(|value| *value == 0.0));
    }

    #[test]
    fn values_that_differ_by_too_little_are_not_called_constant() {
        let text = fitted(&["a"], &[1e-30, 2e-30, 1e-31]).unwrap_err().to_string();
        assert!(
            text.contains("feature \"a\": its values differ by too little") && text.contains("unit"),
            "{text}"
        );
        assert!(fitted(&["a"], &[1e-18, 2e-18, 1e-19]).unwrap().1.is_empty());
    }

    #[test]
    fn deviations_are_taken_as_long_as_their_square_is_a_normal_number() {
        let spread = |deviation: f32| fitted(&["a"], &[-deviation, deviation]);
        let smallest = 2.0_f32.powi(-63);
        assert_eq!(spread(smallest).unwrap().0.standard_deviation(), [f64::from(smallest)]);
        assert!(spread(smallest.next_down()).unwrap_err().to_string().contains("differ by too little"));
    }

    #[test]
    fn deviations_whose_square_is_beyond_f32_are_refused_on_engines_that_could_go_on() {
        let largest = 2.0_f32.powi(63);
        let (scaler, ..) = fitted(&["a"], &[-largest, largest]).unwrap();
        assert_eq!(scaler.standard_deviation(), [f64::from(largest)]);
        let text = fitted(&["a"], &[-2.0 * largest, 2.0 * largest]).unwrap_err().to_string();
        assert!(text.contains("feature \"a\": its values are too large to be squared"), "{text}");
    }

    #[test]
    fn values_whose_squares_overflow_are_refused_whichever_moment_shows_it() {
        let table = Table::new(vec!["a".to_owned()], vec![1e20, -1e20, 3e19]).unwrap();
        let engine = crate::engine::Emulator::new();
        let x = engine.upload(3, 1, table.values()).unwrap();
        let moments = engine.column_moments(&x).unwrap();
        assert!(moments.mean[0].is_finite() && !moments.standard_deviation[0].is_finite());
        let text = Scaler::fit(Scale::ZScore, &engine, &x, &table).unwrap_err().to_string();
        assert!(text.contains("feature \"a\": its values are too large to be squared"), "{text}");
    }

    #[test]
    fn without_scaling_nothing_is_learnt_and_nothing_changes() {
        let table = Table::new(vec!["a".to_owned(), "b".to_owned()], vec![1.0, 5.0, 3.0, 5.0]).unwrap();
        let x = Loop.upload(2, 2, table.values()).unwrap();
        let (scaler, constant) = Scaler::fit(Scale::None, &Loop, &x, &table).unwrap();
        assert_eq!((scaler.scale(), constant), (Scale::None, vec![]));
        assert_eq!((scaler.mean(), scaler.standard_deviation()), (&[0.0; 2][..], &[1.0; 2][..]));
        assert!(scaler.on(&Loop).unwrap().is_none());
        assert_eq!(scaled(&x, &scaler), [1.0, 5.0, 3.0, 5.0]);
    }

    #[test]
    fn raw_weights_predict_what_scaled_ones_do() {
        let scaler = Scaler::from_parts(Scale::ZScore, vec![10.0, -2.0], vec![4.0, 0.5]);
        let (raw, bias) = scaler.to_raw(&[8.0, 3.0], 1.0);
        assert_eq!((raw, bias), (vec![2.0, 6.0], 1.0 - 20.0 + 12.0));
    }
}
