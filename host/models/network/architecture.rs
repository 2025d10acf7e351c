//! A network's layers, in words.

use std::fmt;
use std::str::FromStr;

use crate::engine::{Activation, Head};
use crate::{Error, Result};

/// The layers of a network: the hidden ones with their units and activations, and what comes last.
///
/// In words, as `64:relu,32:relu,1:sigmoid`: units and activation of each, in order. Hidden layers have `relu`, `sigmoid` or
/// `identity`. The last decides what is learnt: `identity` numbers, `sigmoid` (1 unit) which of two classes, `softmax`
/// (a unit a class) which of several.
///
/// ```
/// use tilegrad::engine::{Activation, Head};
/// use tilegrad::models::Layers;
///
/// let layers: Layers = "64:relu,10:softmax".parse()?;
/// assert_eq!(layers.hidden(), [(64, Activation::Relu)]);
/// assert_eq!(layers.output(), Some((10, Head::Softmax)));
/// assert_eq!(layers.to_string(), "64:relu,10:softmax");
/// # Ok::<(), tilegrad::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Layers {
    hidden: Vec<(usize, Activation)>,
    output: Option<(usize, Head)>,
}

impl Layers {
    /// These hidden layers; the last one follows from the target.
    pub fn new(hidden: impl IntoIterator<Item = (usize, Activation)>) -> Self {
        Layers { hidden: hidden.into_iter().collect(), output: None }
    }

    /// The same with a last layer of `units` units.
    #[must_use]
    pub fn with_output(self, units: usize, head: Head) -> Self {
        Layers { output: Some((units, head)), ..self }
    }

    /// Units and activation of each hidden layer.
    pub fn hidden(&self) -> &[(usize, Activation)] {
        &self.hidden
    }

    /// Units and head of the last layer. `None`: they follow from the target.
    pub fn output(&self) -> Option<(usize, Head)> {
        self.output
    }

    /// The last layer for a target of these classes, or of numbers; an error if one was asked for that does not fit.
    pub(in super::super) fn output_for(&self, target: &str, classes: Option<usize>) -> Result<(usize, Head)> {
        if let Some(layer) = self.hidden.iter().position(|(units, _)| *units == 0) {
            return Err(Error::Setting(format!("layer {} has no units: give it at least 1", layer + 1)));
        }
        let fitting = match classes {
            None => (1, Head::Identity),
            Some(0 | 1) => {
                return Err(Error::Data(format!(
                    "the target {target:?} has one class in all samples: there is nothing to tell apart"
                )));
            }
            Some(2) => (1, Head::Sigmoid),
            Some(classes) => (classes, Head::Softmax),
        };
        match (self.output, classes) {
            (None, _) => Ok(fitting),
            (Some(asked), _) if asked == fitting => Ok(asked),
            (Some(asked @ (2, Head::Softmax)), Some(2)) => Ok(asked),
            (Some((units, head)), _) => {
                let is = match classes {
                    None => "a number".to_owned(),
                    Some(classes) => format!("one of {classes} classes"),
                };
                Err(Error::Setting(format!(
                    "the last layer is {units}:{head}, and the target {target:?} is {is}, for which it must be {}:{}",
                    fitting.0, fitting.1
                )))
            }
        }
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.hidden.iter().map(|(units, activation)| format!("{units}:{activation}"));
        let output = self.output.iter().map(|(units, head)| format!("{units}:{head}"));
        f.write_str(&hidden.chain(output).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Layers {
    type Err = Error;

    /// # Errors
    /// [`Error::Setting`] with the layer, what is wrong with it, and what may stand there.
    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let (last, hidden) = parts.split_last().expect("a split has at least one part");
        let hidden = hidden.iter().enumerate().map(|(layer, part)| {
            let (units, name) = units_and_name(layer, part)?;
            let activation = match name {
                "relu" => Activation::Relu,
                "sigmoid" => Activation::Sigmoid,
                "identity" => Activation::Identity,
                "softmax" => {
                    let problem = "softmax is for the last layer: take relu, sigmoid or identity";
                    return Err(refuse(layer, part, problem));
                }
                _ => return Err(refuse(layer, part, "the activation is none of relu, sigmoid and identity")),
            };
            Ok((units, activation))
        });
        let hidden = hidden.collect::<Result<Vec<_>>>()?;
        let layer = hidden.len();
        let (units, name) = units_and_name(layer, last)?;
        let head = match name {
            "identity" => Head::Identity,
            "sigmoid" => Head::Sigmoid,
            "softmax" => Head::Softmax,
            "relu" => {
                let problem = "the last layer decides what is learnt, and relu predicts neither all numbers nor classes: \
                               end with identity (numbers), sigmoid (two classes) or softmax (several), as in \
                               64:relu,10:softmax";
                return Err(refuse(layer, last, problem));
            }
            _ => return Err(refuse(layer, last, "the last layer is none of identity, sigmoid and softmax")),
        };
        Ok(Layers { hidden, output: Some((units, head)) })
    }
}

fn refuse(layer: usize, part: &str, problem: &str) -> Error {
    let part: String = part.chars().take(40).collect();
    Error::Setting(format!("layer {} ({part:?}): {problem}", layer + 1))
}

fn units_and_name(layer: usize, part: &str) -> Result<(usize, &'_ str)> {
    let Some((units, name)) = part.split_once(':') else {
        return Err(refuse(layer, part, "a layer is units:activation, as in 64:relu"));
    };
    match units.trim().parse() {
        Ok(0) => Err(refuse(layer, part, "a layer has at least 1 unit")),
        Ok(units) => Ok((units, name.trim())),
        Err(_) => Err(refuse(layer, part, "the units are no whole number, as in 64:relu")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_read_and_written() {
        for text in ["1:identity", "64:relu,10:softmax", "3:identity,2:sigmoid,1:sigmoid"] {
            assert_eq!(text.parse::<Layers>().unwrap().to_string(), text);
        }
        assert_eq!(" 64 : relu , 10:softmax".parse::<Layers>().unwrap().to_string(), "64:relu,10:softmax");
        assert_eq!(Layers::new([(3, Activation::Relu)]).to_string(), "3:relu");
    }

    #[test]
    fn what_is_wrong_with_a_layer_is_said_with_its_place() {
        for (text, problem) in [
            ("", "layer 1 (\"\"): a layer is units:activation"),
            ("64", "layer 1 (\"64\"): a layer is units:activation"),
            ("64:relu,", "layer 2 (\"\")"),
            ("64:relu,x:softmax", "layer 2 (\"x:softmax\"): the units are no whole number"),
            ("-1:relu,1:identity", "layer 1 (\"-1:relu\"): the units are no whole number"),
            ("0:relu,1:identity", "layer 1 (\"0:relu\"): a layer has at least 1 unit"),
            ("64:tanh,1:identity", "layer 1 (\"64:tanh\"): the activation is none of relu, sigmoid"),
            ("64:softmax,1:identity", "softmax is for the last layer"),
            ("64:relu,32:relu", "layer 2 (\"32:relu\"): the last layer decides what is learnt"),
            ("64:relu,10:sofmax", "the last layer is none of identity, sigmoid and softmax"),
        ] {
            let refused = text.parse::<Layers>().unwrap_err().to_string();
            assert!(refused.contains(problem), "{text}: {refused}");
        }
        let long = "9".repeat(10_000).parse::<Layers>().unwrap_err().to_string();
        assert!(long.len() < 200, "{long}");
    }

    #[test]
    fn the_last_layer_follows_from_the_target_or_must_fit_it() {
        let hidden = Layers::new([(3, Activation::Relu)]);
        let follows = |classes| hidden.output_for("y", classes).unwrap();
        assert_eq!(follows(None), (1, Head::Identity));
        assert_eq!(follows(Some(2)), (1, Head::Sigmoid));
        assert_eq!(follows(Some(5)), (5, Head::Softmax));
        assert_eq!(
            hidden.clone().with_output(2, Head::Softmax).output_for("y", Some(2)).unwrap(),
            (2, Head::Softmax)
        );
        for (units, head, classes, needed) in [
            (1, Head::Identity, Some(3), "one of 3 classes, for which it must be 3:softmax"),
            (1, Head::Sigmoid, Some(3), "3:softmax"),
            (9, Head::Softmax, Some(10), "10:softmax"),
            (2, Head::Sigmoid, Some(2), "1:sigmoid"),
            (10, Head::Softmax, None, "a number, for which it must be 1:identity"),
            (2, Head::Identity, None, "1:identity"),
        ] {
            let refused =
                hidden.clone().with_output(units, head).output_for("y", classes).unwrap_err().to_string();
            assert!(refused.contains(needed), "{refused}");
        }
        assert!(hidden.output_for("y", Some(1)).unwrap_err().to_string().contains("nothing to tell apart"));
        let none = Layers::new([(4, Activation::Relu), (0, Activation::Relu)]);
        assert!(none.output_for("y", None).unwrap_err().to_string().contains("layer 2 has no units"));
    }
}
