//! Thrift's compact protocol, as far as the headers of a Parquet file need it.
//!
//! By the protocol's specification in the Apache Thrift project. Nothing is allocated by a length that is read, and what
//! is passed over is nested no deeper than [`DEEPEST`].

/// Why a value cannot be read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stop {
    /// The bytes end within it.
    Cut,
    /// It is not what it should be.
    Wrong,
}

/// The kind of a field's value.
pub(super) type Kind = u8;

const TRUE: Kind = 1;
const FALSE: Kind = 2;
const BYTE: Kind = 3;
const INTEGERS: [Kind; 3] = [4, 5, 6];
const DOUBLE: Kind = 7;
const BINARY: Kind = 8;
const LIST: Kind = 9;
const SET: Kind = 10;
const MAP: Kind = 11;
const STRUCT: Kind = 12;

/// Levels of values within others.
const DEEPEST: usize = 32;

/// What is left to be read.
#[derive(Clone, Debug)]
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Thrift { bytes }
    }

    /// The bytes that are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len()
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Stop> {
        let count = usize::try_from(count).map_err(|_| Stop::Cut)?;
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Stop::Cut)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        Ok(self.take(1)?[0])
    }

    fn unsigned(&mut self) -> Result<u64, Stop> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Stop::Wrong)
    }

    fn signed(&mut self) -> Result<i64, Stop> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A field's integer.
    pub(super) fn integer(&mut self, kind: Kind) -> Result<i64, Stop> {
        match kind {
            BYTE => Ok((self.byte()? as i8).into()),
            _ if INTEGERS.contains(&kind) => self.signed(),
            _ => Err(Stop::Wrong),
        }
    }

    /// A field's truth value.
    pub(super) fn boolean(kind: Kind) -> Result<bool, Stop> {
        match kind {
            TRUE => Ok(true),
            FALSE => Ok(false),
            _ => Err(Stop::Wrong),
        }
    }

    /// A field's bytes.
    pub(super) fn binary(&mut self, kind: Kind) -> Result<&'a [u8], Stop> {
        if kind != BINARY {
            return Err(Stop::Wrong);
        }
        let length = self.unsigned()?;
        self.take(length)
    }

    /// Goes through the structs of a field's list, one call of `each` for each.
    pub(super) fn structs(
        &mut self,
        kind: Kind,
        mut each: impl FnMut(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        if kind != LIST {
            return Err(Stop::Wrong);
        }
        let (count, element) = self.list()?;
        if count > 0 && element != STRUCT {
            return Err(Stop::Wrong);
        }
        (0..count).try_for_each(|_| each(self))
    }

    /// Goes through the fields of a field's struct.
    pub(super) fn inner(
        &mut self,
        kind: Kind,
        field: impl FnMut(&mut Self, i64, Kind) -> Result<bool, Stop>,
    ) -> Result<(), Stop> {
        if kind == STRUCT { self.fields(field) } else { Err(Stop::Wrong) }
    }

    /// Goes through the fields of a struct: `field` takes the value of the one with this number and kind, or says that it
    /// does not know it; then it is passed over.
    pub(super) fn fields(
        &mut self,
        mut field: impl FnMut(&mut Self, i64, Kind) -> Result<bool, Stop>,
    ) -> Result<(), Stop> {
        let mut number = 0;
        while let Some(kind) = self.field(&mut number)? {
            if !field(self, number, kind)? {
                self.pass(kind, DEEPEST)?;
            }
        }
        Ok(())
    }

    /// The kind of the next field of a struct; none at its end.
    fn field(&mut self, number: &mut i64) -> Result<Option<Kind>, Stop> {
        let byte = self.byte()?;
        let kind = byte & 0xf;
        if kind == 0 {
            return Ok(None);
        }
        *number = match byte >> 4 {
            0 => self.signed()?,
            step => number.checked_add(step.into()).ok_or(Stop::Wrong)?,
        };
        Ok(Some(kind))
    }

    /// The elements of a list, each of which takes a byte at least, and their kind.
    fn list(&mut self) -> Result<(u64, Kind), Stop> {
        let byte = self.byte()?;
        let count = match byte >> 4 {
            15 => self.unsigned()?,
            count => count.into(),
        };
        if count > self.left() as u64 { Err(Stop::Cut) } else { Ok((count, byte & 0xf)) }
    }

    /// Passes over a field's value.
    fn pass(&mut self, kind: Kind, depth: usize) -> Result<(), Stop> {
        let Some(depth) = depth.checked_sub(1) else { return Err(Stop::Wrong) };
        match kind {
            TRUE | FALSE => Ok(()),
            BYTE => self.take(1).map(drop),
            DOUBLE => self.take(8).map(drop),
            BINARY => self.binary(kind).map(drop),
            LIST | SET => {
                let (count, element) = self.list()?;
                (0..count).try_for_each(|_| self.pass_element(element, depth))
            }
            MAP => {
                let count = self.unsigned()?;
                if count == 0 {
                    return Ok(());
                }
                let kinds = self.byte()?;
                if count > self.left() as u64 {
                    return Err(Stop::Cut);
                }
                (0..count).try_for_each(|_| {
                    self.pass_element(kinds >> 4, depth)?;
                    self.pass_element(kinds & 0xf, depth)
                })
            }
            STRUCT => {
                let mut number = 0;
                while let Some(kind) = self.field(&mut number)? {
                    self.pass(kind, depth)?;
                }
                Ok(())
            }
            _ if INTEGERS.contains(&kind) => self.unsigned().map(drop),
            _ => Err(Stop::Wrong),
        }
    }

    /// Passes over an element of a list, where truth values take a byte.
    fn pass_element(&mut self, kind: Kind, depth: usize) -> Result<(), Stop> {
        self.pass(if matches!(kind, TRUE | FALSE) { BYTE } else { kind }, depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A struct of an integer (1: −3), a text (2: "ab"), a list of structs (4, each 1: true) and a field that is not known.
    const BYTES: &[u8] =
        b"\x15\x05\x18\x02ab\x29\x2c\x11\x00\x12\x00\x0b\x14\x01\x58\x02\x01x\x1c\x18\x01x\x00\x00rest";

    /// The fields 1, 2 and 4, and how many bytes are left.
    type Fields<'a> = (i64, &'a [u8], Vec<bool>, usize);

    fn read(bytes: &[u8]) -> Result<Fields<'_>, Stop> {
        let (mut integer, mut text, mut flags) = (0, &b""[..], Vec::new());
        let mut thrift = Thrift::new(bytes);
        thrift.fields(|thrift, number, kind| {
            match number {
                1 => integer = thrift.integer(kind)?,
                2 => text = thrift.binary(kind)?,
                4 => thrift.structs(kind, |thrift| {
                    thrift.fields(|_, _, kind| {
                        flags.push(Thrift::boolean(kind)?);
                        Ok(true)
                    })
                })?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok((integer, text, flags, thrift.left()))
    }

    #[test]
    fn fields_are_read_and_unknown_ones_passed_over() {
        assert_eq!(read(BYTES), Ok((-3, &b"ab"[..], vec![true, false], 4)));
        for length in 0..BYTES.len() - 4 {
            assert_eq!(read(&BYTES[..length]), Err(Stop::Cut), "{length}");
        }
    }

    #[test]
    fn lengths_are_not_taken_on_trust_nor_depth() {
        assert_eq!(read(b"\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), Err(Stop::Cut));
        assert_eq!(read(b"\x49\xfc\xff\xff\xff\xff\x0f"), Err(Stop::Cut));
        assert_eq!(read(&[b"\x15".as_slice(), &[0xff; 11]].concat()), Err(Stop::Wrong));
        assert_eq!(read(b"\x18\x00"), Err(Stop::Wrong), "text for an integer");
        assert_eq!(read(&[0x9c; 40]), Err(Stop::Wrong), "structs in structs");
        assert_eq!(read(&[b"\x99".as_slice(), &[0x19; 60]].concat()), Err(Stop::Wrong), "lists in lists");
    }
}
