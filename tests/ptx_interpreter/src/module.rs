//! A module of PTX, taken apart: its kernels as lists of instructions.

use std::collections::HashMap;
use std::sync::Arc;

use crate::Fault;
use crate::instruction::{Decoder, Instruction, Kind, Text};
use crate::registers::{Constant, Register, Registers};

/// Where shared memory begins: not at 0, so that an address that was forgotten is none.
pub const SHARED_START: u32 = 1024;

/// Shared arrays begin at multiples of this, unless they ask for more.
const LEAST_ALIGNMENT: u32 = 16;

/// A module, or several put together.
#[derive(Clone, Default)]
pub struct Module {
    /// By name.
    pub(crate) kernels: HashMap<String, Arc<Entry>>,
}

/// A kernel.
pub struct Entry {
    /// Its registers.
    pub registers: Registers,
    /// Its instructions.
    pub code: Vec<Instruction>,
    /// Bytes of the shared arrays that it uses, from [`SHARED_START`] on.
    pub static_shared: u32,
    /// The array behind them, of as many bytes as a launch says, begins at a multiple of this.
    pub dynamic_alignment: u32,
    /// Threads of a block along each axis.
    pub threads: Option<[u32; 3]>,
    /// Widths of its parameters in bytes.
    pub parameters: Vec<usize>,
    /// The text of its module, for messages.
    lines: Arc<[String]>,
}

impl Entry {
    /// The lines with instructions that have not run, with their numbers from 1, without traps.
    pub fn never_ran(&self, ran: &[bool]) -> Vec<(usize, String)> {
        let mut after_trap = false;
        let mut lines = Vec::new();
        for (at, instruction) in self.code.iter().enumerate() {
            let trap = matches!(instruction.kind, Kind::Trap);
            let of_trap = trap || (after_trap && matches!(instruction.kind, Kind::Exit));
            if !of_trap && !ran.get(at).is_some_and(|ran| *ran) {
                let (number, line) = self.line(instruction);
                lines.push((number, line.to_owned()));
            }
            after_trap = trap;
        }
        lines
    }

    /// The number of an instruction's line, from 1, and the line.
    pub fn line(&self, instruction: &Instruction) -> (usize, &str) {
        let line = instruction.line as usize;
        (line + 1, self.lines[line].trim())
    }
}

/// A shared array of the module.
struct Shared {
    alignment: u32,
    /// `None`: as many as a launch says.
    bytes: Option<u32>,
}

impl Module {
    /// This module with the kernels of another in the place of its own of the same names.
    #[must_use]
    pub fn with(&self, other: &Module) -> Module {
        let mut module = self.clone();
        module.kernels.extend(other.kernels.iter().map(|(name, entry)| (name.clone(), Arc::clone(entry))));
        module
    }

    /// Reads a module.
    ///
    /// # Errors
    /// What is not known here, with its line.
    pub fn of(text: &str) -> Result<Module, Fault> {
        let lines: Arc<[String]> = text.lines().map(str::to_owned).collect();
        let mut arrays = HashMap::new();
        let mut kernels = HashMap::new();
        let mut at = 0;
        while at < lines.len() {
            let line = code(&lines[at]);
            if let Some(array) = line.find(".shared ") {
                let (name, shared) =
                    shared_array(&line[array..]).ok_or_else(|| bad(&lines, at, "not an array"))?;
                arrays.insert(name.to_owned(), shared);
            } else if let Some((_, name)) = line.split_once(".entry ") {
                let name = name.trim_end_matches('(').trim().to_owned();
                let (entry, end) = read_entry(&lines, at, &arrays)?;
                kernels.insert(name, Arc::new(entry));
                at = end;
            }
            at += 1;
        }
        Ok(Module { kernels })
    }
}

/// A line without its comment.
fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code).trim()
}

fn bad(lines: &[String], at: usize, what: impl Into<String>) -> Fault {
    Fault::Text { line: at + 1, text: lines[at].trim().to_owned(), what: what.into() }
}

/// `.shared .align 16 .b8 name[bytes];`
fn shared_array(text: &str) -> Option<(&str, Shared)> {
    let mut words = text.split_whitespace().skip(1);
    let (".align", alignment, ".b8") = (words.next()?, words.next()?, words.next()?) else { return None };
    let (name, bytes) = words.next()?.strip_suffix("];")?.split_once('[')?;
    let bytes = if bytes.is_empty() { None } else { Some(bytes.parse().ok()?) };
    Some((name, Shared { alignment: alignment.parse::<u32>().ok()?.max(LEAST_ALIGNMENT), bytes }))
}

/// The bytes that a parameter `.param .u64 .ptr .align 4 name` takes, and its name.
fn parameter(text: &str) -> Option<(&str, usize)> {
    let mut words = text.trim_end_matches(',').split_whitespace();
    let (".param", kind) = (words.next()?, words.next()?) else { return None };
    let bytes = match kind {
        ".u32" | ".s32" | ".b32" | ".f32" => 4,
        ".u64" | ".s64" | ".b64" => 8,
        _ => return None,
    };
    Some((words.next_back()?, bytes))
}

/// The kernel that begins on line `at`, and its last line.
fn read_entry(
    lines: &Arc<[String]>,
    mut at: usize,
    arrays: &HashMap<String, Shared>,
) -> Result<(Entry, usize), Fault> {
    let mut names = HashMap::new();
    let mut parameters = Vec::new();
    let mut threads = None;
    loop {
        at += 1;
        let Some(line) = lines.get(at) else { return Err(bad(lines, at - 1, "the kernel has no body")) };
        match code(line) {
            "{" => break,
            ")" | "" => {}
            bounds if bounds.starts_with(".maxntid ") => {
                let sides = bounds[".maxntid ".len()..].split(" .").next().unwrap_or_default();
                let sides: Vec<u32> = sides.split(',').filter_map(|side| side.trim().parse().ok()).collect();
                threads = Some(sides.try_into().map_err(|_| bad(lines, at, "not three sides"))?);
            }
            bounds if bounds.starts_with(".minnctapersm ") => {}
            text => {
                let (name, bytes) = parameter(text).ok_or_else(|| bad(lines, at, "not a parameter"))?;
                names.insert(name.to_owned(), (parameters.len(), bytes));
                parameters.push(bytes);
            }
        }
    }
    let mut body = Body {
        lines,
        arrays,
        parameters: &names,
        registers: Registers::default(),
        code: Vec::new(),
        labels: HashMap::new(),
        branches: Vec::new(),
        static_shared: 0,
        dynamic_alignment: LEAST_ALIGNMENT,
        places: HashMap::new(),
    };
    let end = body.read(at + 1)?;
    if body.code.is_empty() {
        return Err(bad(lines, end, "the kernel has no instructions"));
    }
    for (instruction, label, line) in std::mem::take(&mut body.branches) {
        let target = body.labels.get(&label).ok_or_else(|| bad(lines, line, "there is no such label"))?;
        body.code[instruction].kind = Kind::Branch(*target);
    }
    let Body { registers, code, static_shared, dynamic_alignment, .. } = body;
    let lines = Arc::clone(lines);
    let entry = Entry { registers, code, static_shared, dynamic_alignment, threads, parameters, lines };
    Ok((entry, end))
}

/// A kernel's body while it is read.
struct Body<'a> {
    lines: &'a [String],
    arrays: &'a HashMap<String, Shared>,
    parameters: &'a HashMap<String, (usize, usize)>,
    registers: Registers,
    code: Vec<Instruction>,
    labels: HashMap<String, u32>,
    /// The instruction, its label, and the line.
    branches: Vec<(usize, String, usize)>,
    static_shared: u32,
    dynamic_alignment: u32,
    places: HashMap<String, u32>,
}

impl Body<'_> {
    /// Reads to the last brace, whose line it gives.
    fn read(&mut self, start: usize) -> Result<usize, Fault> {
        let mut depth = 0;
        let mut statement = String::new();
        for at in start..self.lines.len() {
            let mut rest = code(&self.lines[at]);
            if rest.starts_with(".pragma ") {
                continue;
            }
            while !rest.is_empty() {
                if statement.is_empty() {
                    if let Some(inner) = rest.strip_prefix('{') {
                        depth += 1;
                        self.registers.enter();
                        rest = inner.trim_start();
                        continue;
                    }
                    if let Some(outer) = rest.strip_prefix('}') {
                        if depth == 0 {
                            return Ok(at);
                        }
                        depth -= 1;
                        self.registers.leave();
                        rest = outer.trim_start();
                        continue;
                    }
                    if let Some((label, after)) = rest.split_once(':')
                        && !label.contains(char::is_whitespace)
                        // `fence.proxy.async.shared::cta`
                        && !after.starts_with(':')
                    {
                        self.labels.insert(label.to_owned(), self.code.len() as u32);
                        rest = after.trim_start();
                        continue;
                    }
                }
                match rest.split_once(';') {
                    Some((text, after)) => {
                        statement += text;
                        self.statement(statement.trim(), at).map_err(|what| bad(self.lines, at, what))?;
                        statement.clear();
                        rest = after.trim_start();
                    }
                    None => {
                        statement += rest;
                        statement.push(' ');
                        rest = "";
                    }
                }
            }
        }
        Err(bad(self.lines, start - 1, "the kernel does not end"))
    }

    fn statement(&mut self, text: &str, at: usize) -> Result<(), String> {
        if text.is_empty() {
            return Ok(());
        }
        if let Some(declaration) = text.strip_prefix(".reg ") {
            let (kind, names) = declaration.trim().split_once(char::is_whitespace).ok_or("no name")?;
            return self.registers.declare(kind, names.trim());
        }
        self.registers.meet(text);
        let (guard, text) = match text.strip_prefix('@') {
            None => (None, text),
            Some(guarded) => {
                let (name, text) = guarded.split_once(char::is_whitespace).ok_or("a guard without more")?;
                let (name, holds) = name.strip_prefix('!').map_or((name, true), |name| (name, false));
                match self.registers.find(name) {
                    Some(Register::Predicate(predicate)) => (Some((predicate, holds)), text.trim()),
                    _ => return Err(format!("{name} is not a predicate")),
                }
            }
        };
        let text = Text::of(text);
        let Body { registers, static_shared, dynamic_alignment, places, .. } = self;
        let (arrays, parameters) = (self.arrays, self.parameters);
        let mut shared = |name: &str| {
            let Shared { alignment, bytes } = arrays.get(name)?;
            let Some(bytes) = bytes else {
                *dynamic_alignment = (*dynamic_alignment).max(*alignment);
                return Some(Constant::DynamicShared);
            };
            let place = *places.entry(name.to_owned()).or_insert_with(|| {
                let place = static_shared.next_multiple_of(*alignment);
                *static_shared = place + bytes;
                place
            });
            Some(Constant::Number(u64::from(SHARED_START + place)))
        };
        let mut decoder = Decoder {
            text: &text,
            registers,
            parameters: &|name| parameters.get(name).copied(),
            shared: &mut shared,
        };
        let kind = decoder.decode()?;
        if let Kind::Branch(_) = kind {
            let label = text.operands.first().ok_or("a branch to nowhere")?;
            self.branches.push((self.code.len(), (*label).to_owned(), at));
        }
        self.code.push(Instruction { guard, kind, line: at as u32 });
        Ok(())
    }
}
