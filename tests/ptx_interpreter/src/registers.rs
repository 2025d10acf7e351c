//! The registers of a kernel: how its names become numbers, and what is in them when it begins.

use std::collections::HashMap;

/// The number of a register of up to 32 bits.
pub type Word = u32;
/// The number of a register of 64 bits.
pub type Long = u32;
/// The number of a predicate.
pub type Predicate = u32;

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// Of up to 32 bits; the bits above those of a shorter one are 0.
    Word(Word),
    Long(Long),
    Predicate(Predicate),
}

/// What a register holds from the beginning on, and for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Constant {
    /// A number in the text.
    Number(u64),
    /// A parameter of the kernel.
    Parameter(usize),
    /// The address behind the arrays that the kernel itself declares.
    DynamicShared,
    /// Along x, y, z.
    Thread(usize),
    Block(usize),
    BlockSize(usize),
    GridSize(usize),
    Lane,
}

impl Constant {
    /// A special register, by its name.
    pub fn special(name: &str) -> Option<Constant> {
        let axis = |axis: &str| ["x", "y", "z"].iter().position(|one| *one == axis);
        Some(match name.strip_prefix('%')?.split_once('.') {
            Some(("tid", along)) => Constant::Thread(axis(along)?),
            Some(("ctaid", along)) => Constant::Block(axis(along)?),
            Some(("ntid", along)) => Constant::BlockSize(axis(along)?),
            Some(("nctaid", along)) => Constant::GridSize(axis(along)?),
            None if name == "%laneid" => Constant::Lane,
            _ => return None,
        })
    }
}

/// A width of registers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Width {
    Word,
    Long,
    Predicate,
}

/// The registers of a kernel. Each name that occurs, and each constant, is one.
#[derive(Default)]
pub struct Registers {
    /// How many there are of each width.
    pub words: u32,
    pub longs: u32,
    pub predicates: u32,
    /// What the constant ones are.
    pub word_constants: Vec<(Word, Constant)>,
    pub long_constants: Vec<(Long, Constant)>,
    names: HashMap<String, Register>,
    /// `%r<17>` declares `%r0` to `%r16`: the names' beginning, and their width.
    prefixes: Vec<(String, Width)>,
    /// Where a name in braces was known from before.
    hidden: Vec<Vec<(String, Option<Register>)>>,
    known: HashMap<(Constant, bool), u32>,
}

impl Registers {
    /// What `.reg TYPE NAMES` declares.
    pub fn declare(&mut self, kind: &str, names: &str) -> Result<(), String> {
        let width = match kind {
            ".pred" => Width::Predicate,
            ".b16" | ".u16" | ".s16" | ".b32" | ".u32" | ".s32" | ".f32" => Width::Word,
            ".b64" | ".u64" | ".s64" => Width::Long,
            _ => return Err(format!("registers of type {kind} are not known here")),
        };
        for name in names.split(',').map(str::trim) {
            match name.split_once('<') {
                Some((prefix, _)) => self.prefixes.push((prefix.to_owned(), width)),
                None => {
                    let register = self.new_register(width);
                    let before = self.names.insert(name.to_owned(), register);
                    if let Some(scope) = self.hidden.last_mut() {
                        scope.push((name.to_owned(), before));
                    }
                }
            }
        }
        Ok(())
    }

    /// Names that are declared from here on hide others until the scope is left.
    pub fn enter(&mut self) {
        self.hidden.push(Vec::new());
    }

    /// Leaves the innermost scope.
    pub fn leave(&mut self) {
        for (name, before) in self.hidden.pop().into_iter().flatten().rev() {
            match before {
                Some(register) => self.names.insert(name, register),
                None => self.names.remove(&name),
            };
        }
    }

    /// The register of this name, if it was declared.
    pub fn find(&self, name: &str) -> Option<Register> {
        self.names.get(name).copied()
    }

    /// Gives each name of this text that was declared by its prefix a register.
    pub fn meet(&mut self, text: &str) {
        let word = |character: char| !(character.is_alphanumeric() || "%_$.".contains(character));
        for name in text.split(word).filter(|name| name.starts_with('%') && !name.contains('.')) {
            let prefix = name.trim_end_matches(|digit: char| digit.is_ascii_digit());
            let width = self.prefixes.iter().find(|(declared, _)| declared == prefix);
            if let (Some((_, width)), false) = (width, self.names.contains_key(name)) {
                let register = self.new_register(*width);
                self.names.insert(name.to_owned(), register);
            }
        }
    }

    fn new_register(&mut self, width: Width) -> Register {
        let next = |count: &mut u32| {
            *count += 1;
            *count - 1
        };
        match width {
            Width::Word => Register::Word(next(&mut self.words)),
            Width::Long => Register::Long(next(&mut self.longs)),
            Width::Predicate => Register::Predicate(next(&mut self.predicates)),
        }
    }

    /// A register of 32 bits that holds this.
    pub fn constant_word(&mut self, constant: Constant) -> Word {
        let (words, constants) = (&mut self.words, &mut self.word_constants);
        *self.known.entry((constant, false)).or_insert_with(|| {
            constants.push((*words, constant));
            *words += 1;
            *words - 1
        })
    }

    /// A register of 64 bits that holds this.
    pub fn constant_long(&mut self, constant: Constant) -> Long {
        let (longs, constants) = (&mut self.longs, &mut self.long_constants);
        *self.known.entry((constant, true)).or_insert_with(|| {
            constants.push((*longs, constant));
            *longs += 1;
            *longs - 1
        })
    }
}
