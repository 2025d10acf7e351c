//! From what each lane did to what its warp did.

use std::panic::Location;

/// The largest table that is made to compare two lists of accesses, in elements.
const TABLE: usize = 1 << 24;

/// What an access is to the hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    Load,
    Store,
    AtomicLoad,
    AtomicStore,
    AtomicAdd,
    /// The reading half of a copy from global to shared memory.
    Copy,
    SharedLoad,
    SharedStore,
    /// The writing half of a copy.
    SharedCopy,
    /// Some lanes of the warp met; `object` numbers the meeting.
    Meeting,
}

/// One access of one lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub instruction: Instruction,
    pub bytes: u32,
    pub place: &'static Location<'static>,
    /// The buffer or the shared array.
    pub object: usize,
    /// Bytes from its beginning.
    pub offset: usize,
}

impl Access {
    /// Whether both can be of one instruction of a warp.
    fn goes_with(&self, other: &Self) -> bool {
        self.instruction == other.instruction
            && self.bytes == other.bytes
            && (std::ptr::eq(self.place, other.place) || self.place == other.place)
            && (self.instruction != Instruction::Meeting || self.object == other.object)
    }
}

/// One instruction of a warp.
pub(crate) struct Request {
    /// The access of one of its lanes.
    first: Access,
    /// For each lane that takes part, where in its list.
    positions: [Option<u32>; 32],
}

impl Request {
    /// One that no lane takes part in so far.
    fn of(access: Access) -> Self {
        Request { first: access, positions: [None; 32] }
    }

    fn join(&mut self, lane: usize, position: usize) {
        self.positions[lane] = Some(position as u32);
    }

    pub fn instruction(&self) -> Instruction {
        self.first.instruction
    }

    /// The lanes that take part, with their accesses.
    pub fn accesses<'a>(
        &'a self,
        lists: &'a [impl AsRef<[Access]>],
    ) -> impl Iterator<Item = (usize, Access)> + 'a {
        let lanes = self.positions.iter().zip(lists).enumerate();
        lanes.filter_map(|(lane, (position, list))| Some((lane, list.as_ref()[(*position)? as usize])))
    }
}

/// What the warp did, from what each of its lanes did.
pub(crate) fn requests(lists: &[impl AsRef<[Access]>]) -> Vec<Request> {
    let mut requests = Vec::new();
    for (lane, list) in lists.iter().enumerate() {
        merge(&mut requests, lane, list.as_ref());
    }
    requests
}

/// Lays a lane's accesses over the requests of the lanes before it.
fn merge(requests: &mut Vec<Request>, lane: usize, list: &[Access]) {
    let together = |(request, access): &(&Request, &Access)| request.first.goes_with(access);
    let head = requests.iter().zip(list).take_while(together).count();
    let tails = requests[head..].iter().rev().zip(list[head..].iter().rev());
    let tail = tails.take_while(together).count();
    let (rest, end) = (head..requests.len() - tail, list.len() - tail);
    for (position, request) in requests[..head].iter_mut().enumerate() {
        request.join(lane, position);
    }
    for (request, position) in requests[rest.end..].iter_mut().zip(end..) {
        request.join(lane, position);
    }
    if head == end {
        return;
    }
    let pairs = pairs(&requests[rest.clone()], &list[head..end]);
    let mut pairs = pairs.into_iter().peekable();
    let mut before = requests.splice(rest, []).collect::<Vec<_>>().into_iter().enumerate().peekable();
    let mut merged = Vec::new();
    for (i, access) in list[head..end].iter().enumerate() {
        let next = pairs.peek().map_or(usize::MAX, |(there, _)| *there);
        merged.extend(std::iter::from_fn(|| before.next_if(|(j, _)| *j < next)).map(|(_, request)| request));
        let paired = pairs.next_if(|(_, other)| *other == i).and_then(|_| before.next());
        let mut request = paired.map(|(_, request)| request).unwrap_or_else(|| Request::of(*access));
        request.join(lane, head + i);
        merged.push(request);
    }
    merged.extend(before.map(|(_, request)| request));
    requests.splice(head..head, merged);
}

/// The requests and accesses that go together: as many as can be, in order, as early as possible.
fn pairs(requests: &[Request], list: &[Access]) -> Vec<(usize, usize)> {
    let (rows, columns) = (requests.len(), list.len());
    let mut pairs = Vec::new();
    if rows.saturating_mul(columns) > TABLE {
        let mut from = 0;
        for (j, access) in list.iter().enumerate() {
            if let Some(i) = requests[from..].iter().position(|request| request.first.goes_with(access)) {
                pairs.push((from + i, j));
                from += i + 1;
            }
        }
        return pairs;
    }
    // The longest common subsequence: `longest` of i and j is that of what comes from i and j on, which is less than
    // 2¹⁶ because the shorter list has at most √TABLE.
    let width = columns + 1;
    let mut longest = vec![0_u16; (rows + 1) * width];
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            longest[i * width + j] = if requests[i].first.goes_with(&list[j]) {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < rows && j < columns {
        if requests[i].first.goes_with(&list[j]) {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each letter is a place in the source.
    fn list(letters: &str) -> Vec<Access> {
        let access = |letter: u8| Access {
            instruction: Instruction::Load,
            bytes: u32::from(letter),
            place: Location::caller(),
            object: 0,
            offset: 0,
        };
        letters.bytes().map(access).collect()
    }

    /// The requests of lanes with these accesses, as a letter and how many lanes take part.
    fn merged(lanes: &[&str]) -> String {
        let lists: Vec<_> = lanes.iter().map(|letters| list(letters)).collect();
        let show = |request: &Request| {
            let lanes = request.accesses(&lists).count();
            assert!(request.accesses(&lists).all(|(_, access)| access.bytes == request.first.bytes));
            format!("{}{lanes}", request.first.bytes as u8 as char)
        };
        requests(&lists).iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lanes_that_do_the_same_are_together() {
        assert_eq!(merged(&["abab"; 32]), "a32 b32 a32 b32");
        assert_eq!(merged(&[]), "");
        assert_eq!(merged(&["", ""]), "");
    }

    #[test]
    fn turns_of_a_loop_go_together_from_the_first_on() {
        assert_eq!(merged(&["aaaw", "aw", "aaw"]), "a3 a2 a1 w3");
        assert_eq!(merged(&["w", "aaw", "aw"]), "a2 a1 w3");
    }

    #[test]
    fn a_branch_counts_apart_and_what_follows_together() {
        assert_eq!(merged(&["axxb", "ayb", "axxb", "ayb", "ab"]), "a5 x2 x2 y2 b5");
        assert_eq!(merged(&["", "x", "", "y", "x"]), "x2 y1");
    }

    #[test]
    fn a_turn_without_its_access_does_not_move_the_others() {
        assert_eq!(merged(&["pqpq", "ppq"]), "p2 q1 p2 q2");
        assert_eq!(merged(&["ppq", "pqpq"]), "p2 q1 p2 q2");
        assert_eq!(merged(&["rwrw", "wrw", "rww"]), "r2 w3 r2 w3");
    }

    #[test]
    fn long_lists_that_differ() {
        let (long, short) = ("x".repeat(5000), "y".repeat(5000));
        assert_eq!(requests(&[list(&long), list(&short)]).len(), 10_000);
        let mixed = format!("{}{}", "xy".repeat(3000), "z".repeat(10));
        assert_eq!(requests(&[list(&("a".to_string() + &mixed)), list(&(mixed + "b"))]).len(), 6012);
    }
}
