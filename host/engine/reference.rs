//! The reference: plain nested loops in `f64`.
//!
//! Every other engine is checked against this one, so it is written to be read: one loop for each sum in a
//! formula, in the order in which the formula is read, on one thread. Values are uploaded exactly (`f32` in `f64`)
//! and nothing is rounded to `f32` afterwards. For data of `f32` and k terms a sum is off by at most
//! γ_k Σ|terms| with γ_k = k·u / (1 − k·u), u = 2⁻⁵³: nothing, beside the 2⁻²⁴ of the other engines.

use std::borrow::Cow;

use super::{
    Activation, Descended, Engine, Head, HostMatrix, Layout, Loss, Moments, Objective, Precision, Samples,
    Scaling, Update, check,
};
use crate::Result;

/// Plain loops in `f64` on one thread: the truth that the other engines are checked against.
///
/// Deterministic: the same operands give the same bits, everywhere.
///
/// ```
/// use tilegrad::engine::{Engine, Layout, Loop, Precision};
///
/// let engine = Loop;
/// let a = engine.upload(2, 2, &[1.0, 2.0, 3.0, 4.0])?;
/// let b = engine.matmul(&a, Layout::Transposed, &a, Layout::Plain, Precision::Fp32)?;
/// assert_eq!(engine.read(&b)?, [10.0, 14.0, 14.0, 20.0]);
/// # Ok::<(), tilegrad::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Loop;

/// A matrix of the reference.
type Matrix = HostMatrix<f64>;

impl Engine for Loop {
    type Matrix = Matrix;

    fn description(&self) -> String {
        "loop (plain loops in f64, 1 thread)".to_owned()
    }

    fn arithmetic(&self) -> String {
        "loop".to_owned()
    }

    fn upload(&self, rows: usize, columns: usize, values: &[f32]) -> Result<Matrix> {
        Matrix::upload(rows, columns, values, f64::from)
    }

    fn read(&self, matrix: &Matrix) -> Result<Vec<f64>> {
        Ok(matrix.values.to_vec())
    }

    fn restore(&self, rows: usize, columns: usize, values: &[f64]) -> Result<Matrix> {
        Matrix::upload(rows, columns, values, |value| value)
    }

    fn shape(&self, matrix: &Matrix) -> (usize, usize) {
        matrix.shape()
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn column_moments(&self, x: &Matrix) -> Result<Moments> {
        check::column_moments(x.shape())?;
        let samples = x.rows as f64;
        let mut mean = vec![0.0; x.columns];
        for i in 0..x.rows {
            for (sum, value) in mean.iter_mut().zip(x.row(i)) {
                *sum += value;
            }
        }
        for sum in &mut mean {
            *sum /= samples;
        }
        let mut standard_deviation = vec![0.0; x.columns];
        for i in 0..x.rows {
            for ((square, value), mean) in standard_deviation.iter_mut().zip(x.row(i)).zip(&mean) {
                *square += (value - mean) * (value - mean);
            }
        }
        for square in &mut standard_deviation {
            *square = (*square / samples).sqrt();
        }
        Ok(Moments { mean, standard_deviation })
    }

    fn descend(
        &self,
        objective: impl Into<Objective>,
        samples: &Samples<'_, Matrix>,
        weights: &mut Matrix,
        bias: &mut Matrix,
        learning_rate: f64,
        steps: usize,
    ) -> Result<Descended> {
        let objective = objective.into();
        let Objective { loss, l2 } = objective;
        check::descent(self, "descend", samples, weights, bias)?;
        check::labels("descend", loss, &samples.y.values)?;
        let Samples { x, scaling, y } = *samples;
        let mut gradient = vec![0.0; x.columns];
        let mut descended = Descended::default();
        for _ in 0..steps {
            let mut cost = 0.0;
            let mut bias_gradient = 0.0;
            gradient.fill(0.0);
            for i in 0..x.rows {
                let row = scaled(x.row(i), scaling);
                let z = dot(&row, &weights.values) + bias.values[0];
                let error = loss.prediction(z) - y.values[i];
                cost += loss.cost(z, y.values[i]);
                bias_gradient += error;
                for (sum, value) in gradient.iter_mut().zip(row.iter()) {
                    *sum += error * value;
                }
            }
            let samples = x.rows as f64;
            let penalty = objective.penalty(dot(&weights.values, &weights.values));
            descended.costs.push(cost / samples + penalty);
            bias_gradient /= samples;
            let mut squares = bias_gradient * bias_gradient;
            for (weight, sum) in weights.values.iter_mut().zip(&gradient) {
                let slope = sum / samples + l2 * *weight;
                squares += slope * slope;
                *weight -= learning_rate * slope;
            }
            bias.values[0] -= learning_rate * bias_gradient;
            descended.gradient_norms.push(squares.sqrt());
        }
        Ok(descended)
    }

    fn cost(
        &self,
        objective: impl Into<Objective>,
        samples: &Samples<'_, Matrix>,
        weights: &Matrix,
        bias: &Matrix,
    ) -> Result<f64> {
        let objective = objective.into();
        let loss = objective.loss;
        check::descent(self, "cost", samples, weights, bias)?;
        check::labels("cost", loss, &samples.y.values)?;
        let Samples { x, scaling, y } = *samples;
        let mut cost = 0.0;
        for i in 0..x.rows {
            let z = dot(&scaled(x.row(i), scaling), &weights.values) + bias.values[0];
            cost += loss.cost(z, y.values[i]);
        }
        Ok(cost / x.rows as f64 + objective.penalty(dot(&weights.values, &weights.values)))
    }

    fn matrix_vector(
        &self,
        x: &Matrix,
        scaling: Option<&Scaling<Matrix>>,
        weights: &Matrix,
        bias: &Matrix,
    ) -> Result<Matrix> {
        check::matrix_vector(self, x, scaling, weights, bias)?;
        let mut out = Matrix::filled("matrix_vector", x.rows, 1, 0.0)?;
        for i in 0..x.rows {
            out.values[i] = dot(&scaled(x.row(i), scaling), &weights.values) + bias.values[0];
        }
        Ok(out)
    }

    fn gradient(&self, x: &Matrix, scaling: Option<&Scaling<Matrix>>, e: &Matrix) -> Result<Matrix> {
        check::gradient(self, x, scaling, e)?;
        let mut gradient = Matrix::filled("gradient", x.columns, 1, 0.0)?;
        for i in 0..x.rows {
            for (sum, value) in gradient.values.iter_mut().zip(scaled(x.row(i), scaling).iter()) {
                *sum += e.values[i] * value;
            }
        }
        for sum in gradient.values.iter_mut() {
            *sum /= x.rows as f64;
        }
        Ok(gradient)
    }

    fn matmul(
        &self,
        a: &Matrix,
        a_layout: Layout,
        b: &Matrix,
        b_layout: Layout,
        _: Precision,
    ) -> Result<Matrix> {
        let (m, n, k) = check::matmul(a.shape(), a_layout, b.shape(), b_layout)?;
        let at = |matrix: &Matrix, layout: Layout, row: usize, column: usize| match layout {
            Layout::Plain => matrix.values[row * matrix.columns + column],
            Layout::Transposed => matrix.values[column * matrix.columns + row],
        };
        let mut c = Matrix::filled("matmul", m, n, 0.0)?;
        for i in 0..m {
            for j in 0..n {
                let mut sum = 0.0;
                for p in 0..k {
                    sum += at(a, a_layout, i, p) * at(b, b_layout, p, j);
                }
                c.values[i * n + j] = sum;
            }
        }
        Ok(c)
    }

    fn dense(
        &self,
        input: &Matrix,
        weights: &Matrix,
        bias: &Matrix,
        activation: Activation,
        _: Precision,
    ) -> Result<Matrix> {
        let (batch, units, inputs) = check::dense(input.shape(), weights.shape(), bias.shape())?;
        let mut out = Matrix::filled("dense", batch, units, 0.0)?;
        for i in 0..batch {
            for j in 0..units {
                let mut sum = 0.0;
                for p in 0..inputs {
                    sum += input.values[i * inputs + p] * weights.values[p * units + j];
                }
                out.values[i * units + j] = activation.apply(sum + bias.values[j]);
            }
        }
        Ok(out)
    }

    fn gather(&self, x: &Matrix, scaling: Option<&Scaling<Matrix>>, rows: &[u32]) -> Result<Matrix> {
        check::gather(self, x, scaling, rows)?;
        let mut out = Matrix::filled("gather", rows.len(), x.columns, 0.0)?;
        for (i, &row) in rows.iter().enumerate() {
            let place = i * x.columns..(i + 1) * x.columns;
            out.values[place].copy_from_slice(&scaled(x.row(row as usize), scaling));
        }
        Ok(out)
    }

    fn output_error(
        &self,
        head: Head,
        mut z: Matrix,
        y: &Matrix,
        costs: &mut Matrix,
        at: usize,
    ) -> Result<Matrix> {
        check::output_error(head, z.shape(), y.shape(), costs.shape(), at)?;
        let (batch, columns) = z.shape();
        let samples = batch as f64;
        let mut cost = 0.0;
        for i in 0..batch {
            let (row, targets) = (&mut z.values[i * columns..(i + 1) * columns], y.row(i));
            cost += match head {
                Head::Identity => judged(Loss::SquaredError, row, targets),
                Head::Sigmoid => judged(Loss::LogLoss, row, targets),
                Head::Softmax => classified(row, targets[0]),
            };
            for error in row {
                *error /= samples;
            }
        }
        costs.values[at] = cost / samples;
        Ok(z)
    }

    fn predictions(&self, head: Head, mut z: Matrix) -> Result<Matrix> {
        for i in 0..z.rows {
            let row = &mut z.values[i * z.columns..(i + 1) * z.columns];
            match head {
                Head::Identity => {}
                Head::Sigmoid => row.iter_mut().for_each(|z| *z = Activation::Sigmoid.apply(*z)),
                Head::Softmax => _ = softmax(row),
            }
        }
        Ok(z)
    }

    fn backward(&self, activation: Activation, output: &Matrix, mut gradient: Matrix) -> Result<Matrix> {
        check::backward(output.shape(), gradient.shape())?;
        for (d, &a) in gradient.values.iter_mut().zip(output.values.iter()) {
            match activation {
                Activation::Identity => {}
                Activation::Relu if a > 0.0 => {}
                Activation::Relu => *d = 0.0,
                Activation::Sigmoid => *d *= a * (1.0 - a),
            }
        }
        Ok(gradient)
    }

    fn column_sums(&self, x: &Matrix) -> Result<Matrix> {
        let mut sums = Matrix::filled("column_sums", 1, x.columns, 0.0)?;
        for i in 0..x.rows {
            for (sum, value) in sums.values.iter_mut().zip(x.row(i)) {
                *sum += value;
            }
        }
        Ok(sums)
    }

    fn update(
        &self,
        rule: Update,
        parameters: &mut Matrix,
        gradient: &Matrix,
        state: &mut [Matrix],
    ) -> Result<()> {
        check::update(rule, parameters.shape(), gradient.shape(), state.iter().map(Matrix::shape))?;
        for i in 0..gradient.values.len() {
            let w = &mut parameters.values[i];
            match (rule, &mut *state) {
                (Update::Descent { learning_rate, l2 }, _) => {
                    *w -= learning_rate * (gradient.values[i] + l2 * *w);
                }
                (Update::Momentum { learning_rate, momentum, l2 }, [v]) => {
                    v.values[i] = momentum * v.values[i] + (gradient.values[i] + l2 * *w);
                    *w -= learning_rate * v.values[i];
                }
                (Update::Adam { learning_rate, beta1, beta2, epsilon, step, l2 }, [m, v]) => {
                    let g = gradient.values[i] + l2 * *w;
                    m.values[i] = beta1 * m.values[i] + (1.0 - beta1) * g;
                    v.values[i] = beta2 * v.values[i] + (1.0 - beta2) * g * g;
                    let m_corrected = m.values[i] / (1.0 - beta1.powf(step as f64));
                    let v_corrected = v.values[i] / (1.0 - beta2.powf(step as f64));
                    *w -= learning_rate * m_corrected / (v_corrected.sqrt() + epsilon);
                }
                _ => unreachable!("the number of states was checked"),
            }
        }
        Ok(())
    }
}

/// z := ŷ − y of a row, and its share in m·J; NaN where a label has none.
fn judged(loss: Loss, row: &mut [f64], targets: &[f64]) -> f64 {
    let mut cost = 0.0;
    for (z, &y) in row.iter_mut().zip(targets) {
        let y = if loss == Loss::LogLoss && !(0.0..=1.0).contains(&y) { f64::NAN } else { y };
        cost += loss.cost(*z, y);
        *z = loss.prediction(*z) - y;
    }
    cost
}

/// z := softmax(z) − the row of the class, and −ln ŷ of it; NaN where the label is none.
fn classified(row: &mut [f64], label: f64) -> f64 {
    let Some(class) = Head::class(label, row.len()) else {
        row.fill(f64::NAN);
        return f64::NAN;
    };
    let below_largest = largest(row) - row[class];
    let cost = softmax(row) + below_largest;
    row[class] -= 1.0;
    cost
}

fn largest(row: &[f64]) -> f64 {
    row.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// z := eᶻ / Σeᶻ, with the maximum taken off z; gives ln Σeᶻ of what is left.
fn softmax(row: &mut [f64]) -> f64 {
    let largest = largest(row);
    let mut sum = 0.0;
    for z in row.iter_mut() {
        *z = (*z - largest).exp();
        sum += *z;
    }
    for z in row {
        *z /= sum;
    }
    sum.ln()
}

/// (x − mean) / deviation of each value of a row.
fn scaled<'a>(row: &'a [f64], scaling: Option<&Scaling<Matrix>>) -> Cow<'a, [f64]> {
    let Some(Scaling { mean, deviation }) = scaling else { return Cow::Borrowed(row) };
    let mut scaled = Vec::new();
    for (j, value) in row.iter().enumerate() {
        scaled.push((value - mean.values[j]) / deviation.values[j]);
    }
    Cow::Owned(scaled)
}

/// Σ aᵢ bᵢ in order.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sum = 0.0;
    for (a, b) in a.iter().zip(b) {
        sum += a * b;
    }
    sum
}
