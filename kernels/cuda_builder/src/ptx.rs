//! Reading and finishing PTX.

use serde::{Deserialize, Serialize};

use crate::Error;

/// A kernel as the PTX declares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The types of its parameters: `u32`, `f32`, `u64` (also for pointers), `b8[128]` for a structure.
    pub parameters: Vec<String>,
    /// The threads of a block along x, y and z, from its launch bounds.
    pub max_threads: Option<[u32; 3]>,
    /// The blocks that have to fit on a multiprocessor at once, from its launch bounds.
    pub min_blocks: Option<u32>,
}

/// What a comment line of the launch bounds begins with: `//@launch NAME DIRECTIVES`.
///
/// rustc has no attribute for launch bounds, so `#[kernel]` leaves them in a comment.
const LAUNCH: &str = "//@launch ";

/// Bytes of a tensor map, which has to be aligned to 64; rustc cannot be told so.
const TENSOR_MAP: &str = "[128]";

/// Finishes the compiler's PTX: puts launch bounds after the parameter lists of their entries, and aligns
/// tensor maps. Line ends become `\n`.
///
/// # Errors
/// Bounds for an entry that is not there, or a line that cannot be understood.
pub fn finish(ptx: &str) -> Result<String, Error> {
    let mut bounds: Vec<(&str, &str, bool)> = Vec::new();
    for (number, line) in ptx.lines().enumerate() {
        if let Some(text) = line.trim().strip_prefix(LAUNCH) {
            let malformed = || bad(number, line, "launch bounds are `//@launch NAME DIRECTIVES`");
            let (name, directives) = text.trim().split_once(' ').ok_or_else(malformed)?;
            parse_bounds(directives).ok_or_else(malformed)?;
            bounds.push((name, directives.trim(), false));
        }
    }
    let mut result = String::with_capacity(ptx.len());
    let mut list = None;
    for line in ptx.lines() {
        if line.trim().starts_with(LAUNCH) {
            continue;
        }
        list = entry_name(line).or(list);
        match list {
            Some(_) if is_tensor_map(line) => result += &align(line),
            _ => result += line,
        }
        result.push('\n');
        if ends_list(line)
            && let Some(name) = list.take()
        {
            for (_, directives, used) in bounds.iter_mut().filter(|(bounded, ..)| *bounded == name) {
                result += directives;
                result.push('\n');
                *used = true;
            }
        }
    }
    match bounds.iter().find(|(.., used)| !used) {
        Some((name, ..)) => Err(Error::UnknownKernel { name: name.to_string() }),
        None => Ok(result),
    }
}

/// The kernels of finished PTX, in its order.
///
/// # Errors
/// A line that cannot be understood.
///
/// ```
/// let ptx = ".visible .entry scale(\n\t.param .u32 scale_param_0,\n\t.param .u64 .ptr .align 4 scale_param_1\n)\n\
///            .maxntid 256, 1, 1\n{\n\tret;\n}\n";
/// let [scale] = &cuda_builder::entries(ptx)?[..] else { panic!() };
/// assert_eq!(scale.parameters, ["u32", "u64"]);
/// assert_eq!(scale.max_threads, Some([256, 1, 1]));
/// # Ok::<(), cuda_builder::Error>(())
/// ```
pub fn entries(ptx: &str) -> Result<Vec<Entry>, Error> {
    /// What the line before belonged to.
    enum State {
        Outside,
        Parameters,
        Bounds,
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut state = State::Outside;
    for (number, line) in ptx.lines().enumerate() {
        let mut text = code(line);
        if let Some(name) = entry_name(line) {
            if name.is_empty() {
                return Err(bad(number, line, "an entry without a name"));
            }
            let (name, parameters) = (name.to_string(), Vec::new());
            entries.push(Entry { name, parameters, max_threads: None, min_blocks: None });
            state = State::Parameters;
            text = text.split_once('(').map_or("", |(_, rest)| rest);
        }
        let Some(entry) = entries.last_mut() else { continue };
        if matches!(state, State::Parameters) {
            let (list, rest) = text.split_once(')').unwrap_or((text, ""));
            for parameter in list.split(',').map(str::trim).filter(|parameter| !parameter.is_empty()) {
                let parsed = parse_parameter(parameter);
                entry.parameters.push(parsed.ok_or_else(|| bad(number, line, "not a parameter"))?);
            }
            if ends_list(line) {
                state = State::Bounds;
                text = rest;
            }
        }
        if matches!(state, State::Bounds) {
            let (directives, body) = text.split_once('{').map_or((text, false), |(before, _)| (before, true));
            let (threads, blocks) =
                parse_bounds(directives).ok_or_else(|| bad(number, line, "not a directive that is known"))?;
            entry.max_threads = threads.or(entry.max_threads);
            entry.min_blocks = blocks.or(entry.min_blocks);
            if body {
                state = State::Outside;
            }
        }
    }
    Ok(entries)
}

fn bad(number: usize, text: &str, reason: &'static str) -> Error {
    Error::Ptx { line: number + 1, reason, text: text.to_string() }
}

/// A line without its comment.
fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code).trim()
}

/// The name of the entry that is declared on this line.
fn entry_name(line: &str) -> Option<&str> {
    let (before, after) = code(line).split_once(".entry")?;
    (before.is_empty() || before.starts_with('.')).then(|| after.split('(').next().unwrap_or(after).trim())
}

/// Whether a parameter list ends on this line.
fn ends_list(line: &str) -> bool {
    code(line).contains(')')
}

/// The type in `.param .u64 .ptr .align 4 NAME` or `.param .align 64 .b8 NAME[128]`.
fn parse_parameter(text: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    if words.next()? != ".param" {
        return None;
    }
    let mut kind = None;
    let mut name = "";
    while let Some(word) = words.next() {
        match word {
            ".align" => drop(words.next()?),
            ".ptr" | ".global" | ".const" | ".shared" | ".local" => {}
            _ => match word.strip_prefix('.') {
                Some(word) if kind.is_none() => kind = Some(word),
                Some(_) => return None,
                None => name = word,
            },
        }
    }
    let length = name.find('[').map_or("", |at| &name[at..]);
    Some(format!("{}{length}", kind?))
}

/// `.maxntid` and `.minnctapersm` among directives; none of an empty text.
type Bounds = (Option<[u32; 3]>, Option<u32>);

fn parse_bounds(directives: &str) -> Option<Bounds> {
    let mut bounds = (None, None);
    for directive in directives.split('.').map(str::trim).skip(1) {
        let (name, values) = directive.split_once(char::is_whitespace)?;
        let values: Vec<u32> =
            values.split(',').map(|value| value.trim().parse().ok()).collect::<Option<_>>()?;
        match (name, &values[..]) {
            ("maxntid", [x]) => bounds.0 = Some([*x, 1, 1]),
            ("maxntid", [x, y]) => bounds.0 = Some([*x, *y, 1]),
            ("maxntid", [x, y, z]) => bounds.0 = Some([*x, *y, *z]),
            ("minnctapersm", [blocks]) => bounds.1 = Some(*blocks),
            ("maxnreg" | "maxclusterrank", [_]) | ("reqnctapercluster", _) => {}
            _ => return None,
        }
    }
    Some(bounds)
}

fn is_tensor_map(line: &str) -> bool {
    let text = code(line);
    text.trim_end_matches([',', ')']).ends_with(TENSOR_MAP) && text.contains(".param .align ")
}

/// The line with 64 in place of its parameter's alignment.
fn align(line: &str) -> String {
    let Some((before, after)) = line.split_once(".align ") else { return line.to_string() };
    let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}.align 64{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &str = "\
//@launch tiled .maxntid 16, 16, 1 .minnctapersm 2
//@launch empty .maxntid 32, 1, 1
.version 7.0
.target sm_80
.address_size 64
\t// .globl\ttiled                          // -- Begin function tiled
                                        // @tiled
.visible .entry tiled(
\t.param .u32 tiled_param_0,
\t.param .f32 tiled_param_1,
\t.param .u64 .ptr .align 1 tiled_param_2,
\t.param .align 8 .b8 tiled_param_3[128],
\t.param .align 8 .b8 tiled_param_4[64]
)
{
\tcall.uni (retval0), helper, (param0);
\tret;
}
.visible .entry empty()
{
\tret;
}
.visible .func  (.param .b32 func_retval0) helper(
\t.param .align 8 .b8 helper_param_0[128]
)
{
\tret;
}
";

    #[test]
    fn bounds_and_alignment_are_put_in_their_place() {
        let finished = finish(RAW).unwrap();
        assert!(
            finished.contains("tiled_param_4[64]\n)\n.maxntid 16, 16, 1 .minnctapersm 2\n{"),
            "{finished}"
        );
        assert!(finished.contains(".entry empty()\n.maxntid 32, 1, 1\n{"), "{finished}");
        assert!(finished.contains(".param .align 64 .b8 tiled_param_3[128],"), "{finished}");
        assert!(finished.contains(".param .align 8 .b8 tiled_param_4[64]\n"), "{finished}");
        assert!(finished.contains(".param .align 8 .b8 helper_param_0[128]\n"), "only entries' parameters");
        assert!(!finished.contains("@launch"), "{finished}");
        assert_eq!(finish(&finished).unwrap(), finished, "finishing twice changes nothing");
    }

    #[test]
    fn line_ends_do_not_matter() {
        assert_eq!(finish(&RAW.replace('\n', "\r\n")).unwrap(), finish(RAW).unwrap());
    }

    #[test]
    fn entries_have_their_parameters_and_bounds() {
        let entries = entries(&finish(RAW).unwrap()).unwrap();
        let [tiled, empty] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!(tiled.name, "tiled");
        assert_eq!(tiled.parameters, ["u32", "f32", "u64", "b8[128]", "b8[64]"]);
        assert_eq!((tiled.max_threads, tiled.min_blocks), (Some([16, 16, 1]), Some(2)));
        assert_eq!(empty.name, "empty");
        assert!(empty.parameters.is_empty());
        assert_eq!((empty.max_threads, empty.min_blocks), (Some([32, 1, 1]), None));
    }

    #[test]
    fn entries_without_bounds_have_none() {
        let entries = entries(RAW).unwrap();
        assert_eq!(entries.len(), 2);
        assert!(entries.iter().all(|entry| entry.max_threads.is_none()));
    }

    #[test]
    fn bounds_of_a_kernel_that_is_not_there_are_an_error() {
        let error = finish(&format!("{RAW}//@launch gone .maxntid 1, 1, 1\n")).unwrap_err();
        assert!(matches!(&error, Error::UnknownKernel { name } if name == "gone"), "{error}");
    }

    #[test]
    fn malformed_lines_are_errors_with_their_number() {
        for (text, number) in [
            ("//@launch alone\n".to_string(), 1),
            ("//@launch tiled .maxntid many\n".to_string(), 1),
            ("//@launch tiled .unknown 3\n".to_string(), 1),
        ] {
            let error = finish(&(text + RAW)).unwrap_err();
            assert!(matches!(error, Error::Ptx { line, .. } if line == number), "{error}");
        }
        let error = entries(".entry f(\n.param .u32\n.what\n)\n{\n}\n").unwrap_err();
        assert!(matches!(error, Error::Ptx { line: 3, .. }), "{error}");
        let error = entries(".entry (\n").unwrap_err();
        assert!(matches!(error, Error::Ptx { line: 1, .. }), "{error}");
    }

    #[test]
    fn text_that_is_no_ptx_has_no_entries() {
        assert!(entries("").unwrap().is_empty());
        assert!(entries("mov.u32 %r1, .entryway;\n)\n{").unwrap().is_empty());
        assert_eq!(finish("").unwrap(), "");
    }
}
