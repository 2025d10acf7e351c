//! What each operation asks of its operands: one rule and one text for all engines.

use super::{Activation, Layout, Moments};
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

/// `standardise` of `x` by `moments`.
pub(crate) fn standardise(x: Shape, moments: &Moments) -> Result<()> {
    let because = format!("x of {} × {}", x.0, x.1);
    expect("standardise", "the mean", (1, moments.mean.len()), (1, x.1), &because)?;
    let deviations = &moments.standard_deviation;
    expect("standardise", "the standard deviation", (1, deviations.len()), (1, x.1), &because)?;
    match deviations.iter().position(|&deviation| !(deviation > 0.0 && deviation.is_finite())) {
        None => Ok(()),
        Some(column) => Err(Error::Data(format!(
            "standardise: the standard deviation of column {column} (counted from 0) is {}, and one cannot divide \
             by that; leave the column out, or put 1 in its place",
            deviations[column]
        ))),
    }
}

/// `descend_linear` and `cost_linear`.
pub(crate) fn linear(operation: &'static str, x: Shape, y: Shape, weights: Shape, bias: Shape) -> Result<()> {
    one_row_at_least(operation, "x", x)?;
    let because = format!("x of {} × {}", x.0, x.1);
    expect(operation, "y", y, (x.0, 1), &because)?;
    expect(operation, "weights", weights, (x.1, 1), &because)?;
    expect(operation, "bias", bias, (1, 1), &because)
}

/// `matrix_vector`.
pub(crate) fn matrix_vector(x: Shape, weights: Shape, bias: Shape) -> Result<()> {
    let because = format!("x of {} × {}", x.0, x.1);
    expect("matrix_vector", "weights", weights, (x.1, 1), &because)?;
    expect("matrix_vector", "bias", bias, (1, 1), &because)
}

/// `gradient`.
pub(crate) fn gradient(x: Shape, e: Shape) -> Result<()> {
    one_row_at_least("gradient", "x", x)?;
    expect("gradient", "e", e, (x.0, 1), &format!("x of {} × {}", x.0, x.1))
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

/// `dense`; returns (batch, units, inputs).
pub(crate) fn dense(input: Shape, weights: Shape, bias: Shape) -> Result<(usize, usize, usize)> {
    let (batch, inputs) = input;
    let units = weights.1;
    expect("dense", "weights", weights, (inputs, units), &format!("input of {batch} × {inputs}"))?;
    expect("dense", "bias", bias, (1, units), &format!("weights of {inputs} × {units}"))?;
    Ok((batch, units, inputs))
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
