//! What each operation asks of its operands: one rule and one text for all engines.

use super::{Activation, Engine, Head, Layout, Loss, Samples, Scaling, Update};
use crate::{Error, Result};

/// Rows and columns.
pub(crate) type Shape = (usize, usize);

fn shape_error(operation: &'static str, problem: String) -> Error {
    Error::Shape { operation, problem }
}

/// Fails unless `name` of shape `actual` is `wanted`; `because` names the operand that decides it.
fn expect(operation: &'static str, name: &str, actual: Shape, wanted: Shape, because: &str) -> Result<()> {
    if actual == wanted {
        return Ok(());
    }
    Err(shape_error(
        operation,
        format!("{name} is {} × {}, but {because} asks for {} × {}", actual.0, actual.1, wanted.0, wanted.1),
    ))
}

fn one_row_at_least(operation: &'static str, name: &str, shape: Shape) -> Result<()> {
    if shape.0 > 0 {
        return Ok(());
    }
    Err(shape_error(operation, format!("{name} is 0 × {}; it needs at least one row", shape.1)))
}

/// The number of elements of a matrix, if it can exist in memory at `size` bytes an element.
pub(crate) fn elements(operation: &'static str, shape: Shape, size: usize) -> Result<usize> {
    let fits =
        |elements: &usize| elements.checked_mul(size).is_some_and(|bytes| bytes <= isize::MAX as usize);
    shape.0.checked_mul(shape.1).filter(fits).ok_or_else(|| no_memory(operation, shape))
}

/// The error for a matrix that does not fit in memory.
pub(crate) fn no_memory(operation: &'static str, shape: Shape) -> Error {
    shape_error(
        operation,
        format!("there is no memory for a matrix of {} × {}; take fewer rows or columns", shape.0, shape.1),
    )
}

/// `upload` of `length` values; returns their number.
pub(crate) fn upload(shape: Shape, length: usize, size: usize) -> Result<usize> {
    let wanted = elements("upload", shape, size)?;
    if length == wanted {
        return Ok(wanted);
    }
    Err(shape_error(
        "upload",
        format!("{length} values were given for a matrix of {} × {}, which has {wanted}", shape.0, shape.1),
    ))
}

/// `column_moments` of `x`.
pub(crate) fn column_moments(x: Shape) -> Result<()> {
    one_row_at_least("column_moments", "x", x)
}

/// `scaling` by as many means and deviations.
pub(crate) fn moments(means: &[f32], deviations: &[f32]) -> Result<()> {
    let because = format!("a mean of 1 × {}", means.len());
    expect("scaling", "the standard deviation", (1, deviations.len()), (1, means.len()), &because)?;
    let finite = |column: &usize| means[*column].is_finite() && deviations[*column].is_finite();
    match (0..means.len()).find(|column| !(deviations[*column] > 0.0 && finite(column))) {
        None => Ok(()),
        Some(column) => Err(Error::Data(format!(
            "scaling: the mean of column {column} (counted from 0) is {:e}, and its standard deviation {:e}, and one cannot \
             scale by that in 32-bit floating point; leave the column out, or put 0 and 1 in their place",
            means[column], deviations[column]
        ))),
    }
}

/// The scaling of `x`; returns how the text names `x`.
fn scaled<E: Engine>(
    engine: &E,
    operation: &'static str,
    x: &E::Matrix,
    scaling: Option<&Scaling<E::Matrix>>,
) -> Result<String> {
    let (rows, columns) = engine.shape(x);
    let because = format!("x of {rows} × {columns}");
    if let Some(Scaling { mean, deviation }) = scaling {
        expect(operation, "the scaling's mean", engine.shape(mean), (columns, 1), &because)?;
        expect(operation, "the scaling's deviation", engine.shape(deviation), (columns, 1), &because)?;
    }
    Ok(because)
}

/// `descend` and `cost`.
pub(crate) fn descent<E: Engine>(
    engine: &E,
    operation: &'static str,
    samples: &Samples<'_, E::Matrix>,
    weights: &E::Matrix,
    bias: &E::Matrix,
) -> Result<()> {
    let x = engine.shape(samples.x);
    one_row_at_least(operation, "x", x)?;
    let because = scaled(engine, operation, samples.x, samples.scaling)?;
    expect(operation, "y", engine.shape(samples.y), (x.0, 1), &because)?;
    expect(operation, "weights", engine.shape(weights), (x.1, 1), &because)?;
    expect(operation, "bias", engine.shape(bias), (1, 1), &because)
}

/// What the loss asks of `y`.
pub(crate) fn labels<T: Copy + Into<f64>>(operation: &'static str, loss: Loss, y: &[T]) -> Result<()> {
    let outside = |label: &T| !(0.0..=1.0).contains(&(*label).into());
    match (loss, y.iter().position(outside)) {
        (Loss::SquaredError, _) | (_, None) => Ok(()),
        (Loss::LogLoss, Some(i)) => Err(Error::Data(format!(
            "{operation}: the label of sample {i} (counted from 0) is {}, and the log loss takes labels from 0 to 1: write \
             0 for one class and 1 for the other, or take the squared error",
            y[i].into()
        ))),
    }
}

/// `matrix_vector`.
pub(crate) fn matrix_vector<E: Engine>(
    engine: &E,
    x: &E::Matrix,
    scaling: Option<&Scaling<E::Matrix>>,
    weights: &E::Matrix,
    bias: &E::Matrix,
) -> Result<()> {
    let because = scaled(engine, "matrix_vector", x, scaling)?;
    expect("matrix_vector", "weights", engine.shape(weights), (engine.shape(x).1, 1), &because)?;
    expect("matrix_vector", "bias", engine.shape(bias), (1, 1), &because)
}

/// `gradient`.
pub(crate) fn gradient<E: Engine>(
    engine: &E,
    x: &E::Matrix,
    scaling: Option<&Scaling<E::Matrix>>,
    e: &E::Matrix,
) -> Result<()> {
    let rows = engine.shape(x);
    one_row_at_least("gradient", "x", rows)?;
    let because = scaled(engine, "gradient", x, scaling)?;
    expect("gradient", "e", engine.shape(e), (rows.0, 1), &because)
}

/// `matmul`; returns (m, n, k) of C (m × n) = op(A) (m × k) op(B) (k × n).
pub(crate) fn matmul(
    a: Shape,
    a_layout: Layout,
    b: Shape,
    b_layout: Layout,
) -> Result<(usize, usize, usize)> {
    let (m, k) = a_layout.of(a);
    let (inner, n) = b_layout.of(b);
    if k == inner {
        return Ok((m, n, k));
    }
    let named = |name: &str, shape: Shape, layout: Layout| match layout {
        Layout::Plain => format!("{name} is {} × {}", shape.0, shape.1),
        Layout::Transposed => {
            format!("{name} is {} × {}, transposed {} × {}", shape.0, shape.1, shape.1, shape.0)
        }
    };
    Err(shape_error(
        "matmul",
        format!(
            "{}; {}; the columns of the first ({k}) and the rows of the second ({inner}) must agree",
            named("A", a, a_layout),
            named("B", b, b_layout)
        ),
    ))
}

/// A network without layers.
pub(crate) fn no_layers() -> Error {
    Error::Shape { operation: "network", problem: "there must be at least one layer".to_owned() }
}

/// `dense`; returns (batch, units, inputs).
pub(crate) fn dense(input: Shape, weights: Shape, bias: Shape) -> Result<(usize, usize, usize)> {
    let (batch, inputs) = input;
    let units = weights.1;
    expect("dense", "weights", weights, (inputs, units), &format!("input of {batch} × {inputs}"))?;
    expect("dense", "bias", bias, (1, units), &format!("weights of {inputs} × {units}"))?;
    Ok((batch, units, inputs))
}

/// `gather`.
pub(crate) fn gather<E: Engine>(
    engine: &E,
    x: &E::Matrix,
    scaling: Option<&Scaling<E::Matrix>>,
    rows: &[u32],
) -> Result<()> {
    let because = scaled(engine, "gather", x, scaling)?;
    let (count, _) = engine.shape(x);
    match rows.iter().position(|row| *row as usize >= count) {
        None => Ok(()),
        Some(place) => Err(Error::Data(format!(
            "gather: row {} (number {place} of the list, both counted from 0) is none of {because}, which has rows 0 to \
             {count} without {count} itself",
            rows[place]
        ))),
    }
}

/// `output_error` of `z`, which judges `y`.
pub(crate) fn output_error(head: Head, z: Shape, y: Shape, costs: Shape, at: usize) -> Result<()> {
    one_row_at_least("output_error", "z", z)?;
    if z.1 == 0 {
        let problem = format!("z is {} × 0; it needs at least one column", z.0);
        return Err(shape_error("output_error", problem));
    }
    let because = format!("z of {} × {} and the head {head}", z.0, z.1);
    expect("output_error", "y", y, (z.0, head.target_columns(z.1)), &because)?;
    if costs.1 == 1 && at < costs.0 {
        return Ok(());
    }
    let problem =
        format!("costs is {} × {}, and the cost is to go into row {at} of one column", costs.0, costs.1);
    Err(shape_error("output_error", problem))
}

/// `backward`.
pub(crate) fn backward(output: Shape, gradient: Shape) -> Result<()> {
    let because = format!("an output of {} × {}", output.0, output.1);
    expect("backward", "the gradient", gradient, output, &because)
}

/// `update`; `states` are the shapes of what the rule keeps.
pub(crate) fn update(
    rule: Update,
    parameters: Shape,
    gradient: Shape,
    states: impl ExactSizeIterator<Item = Shape>,
) -> Result<()> {
    let because = format!("parameters of {} × {}", parameters.0, parameters.1);
    expect("update", "the gradient", gradient, parameters, &because)?;
    if states.len() != rule.states() {
        let problem = format!("{} states are given, and the rule keeps {}", states.len(), rule.states());
        return Err(shape_error("update", problem));
    }
    if let Update::Adam { step: 0, .. } = rule {
        return Err(Error::Setting("update: Adam's steps are counted from 1, and this is step 0".to_owned()));
    }
    states.into_iter().try_for_each(|state| expect("update", "a state", state, parameters, &because))
}

impl Layout {
    /// The shape of an operand after this layout is applied.
    #[must_use]
    pub fn of(self, (rows, columns): (usize, usize)) -> (usize, usize) {
        match self {
            Layout::Plain => (rows, columns),
            Layout::Transposed => (columns, rows),
        }
    }
}

impl Activation {
    /// g(z) in `f64`.
    #[must_use]
    pub fn apply(self, z: f64) -> f64 {
        match self {
            Activation::Identity => z,
            // Written so that NaN stays NaN.
            Activation::Relu if z < 0.0 => 0.0,
            Activation::Relu => z,
            Activation::Sigmoid => 1.0 / (1.0 + (-z).exp()),
        }
    }
}
