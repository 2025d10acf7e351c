//! The kernels' PTX that this program carries: which module suits a GPU, and what it asks of the driver.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::sync::LazyLock;

use flate2::read::GzDecoder;

use super::{Error, Version};

mod carried {
    include!(concat!(env!("OUT_DIR"), "/ptx.rs"));
}

pub use carried::{PTX_IS_STALE, PTX_PROVENANCE};

/// The kernels' PTX: compute capability (80 is 8.0) and text, ascending. It is unpacked when it is first wanted.
pub static PTX_MODULES: LazyLock<Vec<(u32, &'static str)>> = LazyLock::new(|| {
    let text = |architecture: u32, compressed: &[u8]| {
        let mut text = String::new();
        if cfg!(miri) {
            // Miri would take many minutes to unpack kernels, and can run none: a header is enough.
            text = format!(".version 7.0\n.target sm_{architecture}\n");
        } else {
            // What the build has packed can be unpacked; if not, no module has a header, which says so.
            let _ = GzDecoder::new(compressed).read_to_string(&mut text);
        }
        &*text.leak()
    };
    let modules = carried::COMPRESSED.iter();
    modules.map(|&(architecture, compressed)| (architecture, text(architecture, compressed))).collect()
});

/// The first lines of a module: `.version 7.8` and `.target sm_90a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version of PTX.
    pub version: Version,
    /// The architecture, as a compute capability.
    pub target: Version,
    /// Which other GPUs take it.
    pub reach: Reach,
}

/// Which GPUs a module runs on, beside its own architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// `sm_80`: that and everything newer.
    Newer,
    /// `sm_100f`: that and newer ones of the same major version.
    Family,
    /// `sm_90a`: that alone.
    Exact,
}

impl fmt::Display for Header {
    /// The name of its architecture: `sm_90a`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.reach {
            Reach::Newer => "",
            Reach::Family => "f",
            Reach::Exact => "a",
        };
        write!(f, "sm_{}{}{suffix}", self.target.major, self.target.minor)
    }
}

impl Header {
    /// Reads the header of `ptx`; `None` if it has none.
    #[must_use]
    pub fn of(ptx: &str) -> Option<Header> {
        let after = |directive: &str| {
            ptx.lines().find_map(|line| line.trim().strip_prefix(directive)).and_then(|rest| {
                rest.split(|c: char| c.is_whitespace() || c == ',').find(|word| !word.is_empty())
            })
        };
        let (major, minor) = after(".version")?.split_once('.')?;
        let version = Version::new(major.parse().ok()?, minor.parse().ok()?);
        let target = after(".target")?.strip_prefix("sm_")?;
        let digits = target.trim_end_matches(|c: char| !c.is_ascii_digit());
        let reach = match &target[digits.len()..] {
            "" => Reach::Newer,
            "f" => Reach::Family,
            "a" => Reach::Exact,
            _ => return None,
        };
        let number: u32 = digits.parse().ok()?;
        Some(Header { version, target: Version::new(number / 10, number % 10), reach })
    }

    /// Whether the module runs on a GPU of this compute capability.
    #[must_use]
    pub fn runs_on(&self, capability: Version) -> bool {
        match self.reach {
            Reach::Newer => capability >= self.target,
            Reach::Family => capability >= self.target && capability.major == self.target.major,
            Reach::Exact => capability == self.target,
        }
    }

    /// The first CUDA version whose driver takes this version of PTX (the table in NVIDIA's "PTX ISA", release
    /// notes). `None` for a version newer than this program knows.
    #[must_use]
    pub fn needed_cuda(&self) -> Option<Version> {
        let Version { major, minor } = self.version;
        Some(match (major, minor) {
            (..6, _) => Version::new(8, 0),
            (6, 0..=2) => Version::new(9, minor),
            (6, 3..=5) => Version::new(10, minor - 3),
            (7, 0..=8) => Version::new(11, minor),
            (8, 0..=5) => Version::new(12, minor),
            (8, 6..=8) => Version::new(12, minor + 1),
            (9, _) => Version::new(13, minor),
            _ => return None,
        })
    }
}

/// The modules for a GPU of this compute capability. First that of the newest architecture among those that newer GPUs take
/// as well: it has the kernels for all GPUs. Then those for this GPU alone, with kernels of their own.
///
/// # Errors
/// None of the first kind runs there, or the header of one cannot be read.
pub fn choose<'a>(modules: &[(u32, &'a str)], capability: Version) -> Result<Vec<(Header, &'a str)>, Error> {
    let mut best: Option<(Header, &str)> = None;
    let mut alone = Vec::new();
    for &(architecture, text) in modules {
        let header = Header::of(text).ok_or_else(|| Error::Ptx {
            problem: format!("the kernels' PTX for architecture {architecture} has no readable header"),
        })?;
        let better = best.is_none_or(|(other, _)| other.target <= header.target);
        match header.runs_on(capability) {
            true if header.reach == Reach::Exact => alone.push((header, text)),
            true if better => best = Some((header, text)),
            _ => {}
        }
    }
    let best = best.ok_or_else(|| Error::Ptx {
        problem: if modules.is_empty() {
            "this program was built without the kernels' PTX".to_owned()
        } else {
            let there: Vec<String> =
                modules.iter().map(|(architecture, _)| format!("sm_{architecture}")).collect();
            format!(
                "this program carries PTX for {}, and none of that runs on compute capability {capability}",
                there.join(", ")
            )
        },
    })?;
    Ok([best].into_iter().chain(alone).collect())
}

/// A module in parts, so that a driver need not compile all kernels to run one.
pub struct Parts {
    /// What is not a kernel's: the header, and shared memory.
    common: String,
    kernels: BTreeMap<&'static str, &'static str>,
}

impl Parts {
    /// The parts of `ptx`. A kernel reaches from the line of its `.entry` to that of the last brace.
    #[must_use]
    pub fn of(ptx: &'static str) -> Parts {
        let mut parts = Parts { common: String::new(), kernels: BTreeMap::new() };
        let mut rest = ptx;
        while let Some((name, at)) = next_entry(rest) {
            let (before, from) = rest.split_at(at);
            let (kernel, after) = from.split_at(length(from));
            parts.common += before;
            parts.kernels.insert(name, kernel);
            rest = after;
        }
        parts.common += rest;
        parts
    }

    /// A module with the kernel `entry` alone.
    ///
    /// # Errors
    /// There is no such kernel.
    pub fn module(&self, entry: &str) -> Result<String, Error> {
        let kernel = self.kernels.get(entry).ok_or_else(|| no_kernel(entry))?;
        Ok(format!("{}{kernel}", self.common))
    }

    /// Whether it has a kernel of this name.
    #[must_use]
    pub fn has(&self, entry: &str) -> bool {
        self.kernels.contains_key(entry)
    }

    /// The kernel with the shortest text, to see whether a driver takes this PTX at all.
    #[must_use]
    pub fn shortest(&self) -> Option<&'static str> {
        self.kernels.iter().min_by_key(|(_, text)| text.len()).map(|(name, _)| *name)
    }
}

/// The first kernel of `ptx`: its name, and where its line begins.
fn next_entry(ptx: &'static str) -> Option<(&'static str, usize)> {
    let mut at = 0;
    for line in ptx.split_inclusive('\n') {
        let code = line.split("//").next().unwrap_or_default();
        if let Some((_, after)) = code.split_once(".entry") {
            return Some((after.split('(').next().unwrap_or_default().trim(), at));
        }
        at += line.len();
    }
    None
}

/// Bytes from the beginning of a kernel to the end of the line with its last brace.
fn length(kernel: &str) -> usize {
    let (mut at, mut depth, mut inside) = (0, 0_usize, false);
    for line in kernel.split_inclusive('\n') {
        at += line.len();
        for character in line.split("//").next().unwrap_or_default().chars() {
            match character {
                '{' => (depth, inside) = (depth + 1, true),
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        if inside && depth == 0 {
            break;
        }
    }
    at
}

pub(super) fn no_kernel(entry: &str) -> Error {
    Error::Ptx { problem: format!("the kernels' PTX has no kernel {entry}") }
}

/// Fails unless the kernel `entry` of `ptx` takes parameters as wide as those of `types` (such as "u32" and "u64").
///
/// The launch passes bare addresses, so a PTX of other sources would read past them.
///
/// # Errors
/// There is no such kernel, or its parameters are others.
pub fn check_parameters(ptx: &str, entry: &str, types: &[&str]) -> Result<(), Error> {
    let found = parameters(ptx, entry).ok_or_else(|| no_kernel(entry))?;
    let width = |name: &str| name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().ok();
    let same = found.len() == types.len() && found.iter().zip(types).all(|(a, b)| width(a) == width(b));
    if same {
        return Ok(());
    }
    Err(Error::Ptx {
        problem: format!(
            "kernel {entry} takes ({}) in the PTX and ({}) in this program, so that the PTX is not of these sources",
            found.join(", "),
            types.join(", ")
        ),
    })
}

/// The types in the parameter list of `entry`, such as "u32" and "b64"; an array as "b8[128]".
fn parameters<'a>(ptx: &'a str, entry: &str) -> Option<Vec<String>> {
    let list: &'a str = ptx.split(".entry").skip(1).find_map(|rest| {
        let (name, list) = rest.split_once('(')?;
        (name.trim() == entry).then_some(list)
    })?;
    let (list, _) = list.split_once(')')?;
    let parameter = |text: &str| {
        let mut words = text.split_whitespace().skip_while(|&word| word != ".param").skip(1);
        let scalar = words.find(|word| {
            word.strip_prefix(['.']).is_some_and(|word| {
                word.starts_with(['u', 's', 'f', 'b']) && word.ends_with(|c: char| c.is_ascii_digit())
            })
        })?;
        let array = text.find('[').map_or("", |at| &text[at..]);
        Some(format!("{}{}", &scalar[1..], array.trim()))
    };
    list.split(',').filter(|text| !text.trim().is_empty()).map(parameter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SM_80: &str = "//\n// Generated by LLVM NVPTX Back-End\n//\n\n.version 7.4\n.target sm_80\n.address_size 64\n\
                         .visible .entry axpy(\n\t.param .u32 axpy_param_0,\n\t.param .f32 axpy_param_1,\n\t.param .u64 \
                         .ptr .align 4 axpy_param_2,\n\t.param .b64 axpy_param_3\n)\n{ ret; }\n.visible .entry none()\n\
                         {ret;}\n.entry map(.param .align 64 .b8 map_param_0[128]) {ret;}";
    const SM_90: &str = ".version 8.0\n.target sm_90\n";
    const SM_90A: &str = ".version 8.0\n.target sm_90a, debug\n";

    #[test]
    fn a_header_is_read() {
        let header = Header::of(SM_80).unwrap();
        assert_eq!(header.version, Version::new(7, 4));
        assert_eq!((header.target, header.reach), (Version::new(8, 0), Reach::Newer));
        assert_eq!(Header::of(SM_90A).unwrap().reach, Reach::Exact);
        assert_eq!(Header::of(SM_90A).unwrap().to_string(), "sm_90a");
        let blackwell = Header::of(".version 8.8\n.target sm_120f\n").unwrap();
        assert_eq!((blackwell.target, blackwell.reach), (Version::new(12, 0), Reach::Family));
        assert_eq!(blackwell.to_string(), "sm_120f");
        for text in [
            "",
            ".version 7.4",
            ".version x\n.target sm_80",
            ".version 7.4\n.target sm_",
            ".version 7.4\n.target",
        ] {
            assert_eq!(Header::of(text), None, "{text}");
        }
    }

    #[test]
    fn the_driver_that_a_version_of_ptx_needs() {
        for (ptx, cuda) in [
            ((7, 0), (11, 0)),
            ((7, 8), (11, 8)),
            ((8, 0), (12, 0)),
            ((8, 5), (12, 5)),
            ((8, 6), (12, 7)),
            ((8, 7), (12, 8)),
            ((8, 8), (12, 9)),
            ((9, 0), (13, 0)),
            ((6, 4), (10, 1)),
        ] {
            let header = Header {
                version: Version::new(ptx.0, ptx.1),
                target: Version::new(8, 0),
                reach: Reach::Newer,
            };
            assert_eq!(header.needed_cuda(), Some(Version::new(cuda.0, cuda.1)), "PTX {ptx:?}");
        }
        let unknown =
            Header { version: Version::new(10, 0), target: Version::new(8, 0), reach: Reach::Newer };
        assert_eq!(unknown.needed_cuda(), None);
    }

    #[test]
    fn the_newest_module_and_those_for_the_gpu_alone_are_chosen() {
        let targets = |modules: &[(u32, &'static str)], major, minor| {
            let chosen = choose(modules, Version::new(major, minor)).unwrap();
            chosen.iter().map(|(header, _)| header.target).collect::<Vec<_>>()
        };
        let modules = [(80, SM_80), (90, SM_90A)];
        assert_eq!(targets(&modules, 8, 0), [Version::new(8, 0)]);
        assert_eq!(targets(&modules, 8, 9), [Version::new(8, 0)]);
        assert_eq!(targets(&modules, 9, 0), [Version::new(8, 0), Version::new(9, 0)]);
        assert_eq!(targets(&modules, 12, 0), [Version::new(8, 0)], "sm_90a runs on 9.0 alone");
        assert_eq!(targets(&[(90, SM_90), (80, SM_80)], 12, 0), [Version::new(9, 0)]);
        assert!(choose(&[(90, SM_90A)], Version::new(9, 0)).is_err(), "it has not all kernels");
        let none = choose(&modules, Version::new(7, 5)).unwrap_err().to_string();
        assert!(none.contains("sm_80, sm_90") && none.contains("7.5"), "{none}");
        let empty = choose(&[], Version::new(8, 0)).unwrap_err().to_string();
        assert!(empty.contains("without the kernels' PTX"), "{empty}");
        assert!(choose(&[(80, "nonsense")], Version::new(8, 0)).is_err());
    }

    #[test]
    fn parameters_are_compared_by_width() {
        assert_eq!(check_parameters(SM_80, "axpy", &["u32", "f32", "u64", "u64"]), Ok(()));
        assert_eq!(check_parameters(SM_80, "none", &[]), Ok(()));
        let wrong = check_parameters(SM_80, "axpy", &["u32", "u64", "u64", "u64"]).unwrap_err().to_string();
        assert!(wrong.contains("(u32, f32, u64, b64)"), "{wrong}");
        assert!(check_parameters(SM_80, "axpy", &["u32", "f32", "u64"]).is_err());
        assert!(check_parameters(SM_80, "map", &["u64"]).is_err());
        let missing = check_parameters(SM_80, "axp", &[]).unwrap_err().to_string();
        assert!(missing.contains("no kernel axp;"), "{missing}");
    }

    #[test]
    fn each_kernel_becomes_a_module_of_its_own() {
        const PTX: &str = ".version 7.8\n.target sm_80\n.shared .b8 tile[4];\n.visible .entry one(\n\t.param .u32 a\n)\n\
                           .maxntid 32, 1, 1\n{\n\t{ // a brace: }\n\t}\n\tret;\n}\n\t// between .entry\n.entry two()\n{ ret; }\n";
        let parts = Parts::of(PTX);
        let common = ".version 7.8\n.target sm_80\n.shared .b8 tile[4];\n\t// between .entry\n";
        let one = ".visible .entry one(\n\t.param .u32 a\n)\n.maxntid 32, 1, 1\n{\n\t{ // a brace: }\n\t}\n\tret;\n}\n";
        assert_eq!(parts.module("one").unwrap(), format!("{common}{one}"));
        assert_eq!(parts.module("two").unwrap(), format!("{common}.entry two()\n{{ ret; }}\n"));
        assert!(parts.module("three").unwrap_err().to_string().contains("no kernel three"));
        assert_eq!(parts.shortest(), Some("two"));
        assert_eq!(Parts::of("nothing").shortest(), None);
        assert_eq!(Parts::of(".entry cut(").module("cut").unwrap(), ".entry cut(");
    }

    #[test]
    fn the_carried_modules_have_every_kernel_once() {
        for &(_, text) in PTX_MODULES.iter() {
            let parts = Parts::of(text);
            assert_eq!(parts.kernels.len(), text.matches(".visible .entry").count());
            assert!(!parts.common.contains(".entry"));
            for name in parts.kernels.keys() {
                let module = parts.module(name).unwrap();
                assert_eq!(Header::of(&module), Header::of(text));
                assert_eq!(module.matches(".visible .entry").count(), 1, "{name}");
                assert!(parameters(&module, name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn the_carried_modules_can_be_read() {
        for &(architecture, text) in PTX_MODULES.iter() {
            let header = Header::of(text).unwrap();
            assert_eq!(header.target, Version::new(architecture / 10, architecture % 10));
            assert!(header.needed_cuda().is_some());
        }
    }
}
