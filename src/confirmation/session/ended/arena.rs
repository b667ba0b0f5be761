//! Entries of a header and an id one behind the other, in blocks, oldest first: added at one end, freed at the other.
//! Pure; must not know what the entries mean.

use std::collections::VecDeque;

use bytes::{Buf, BufMut};

/// Bytes of a header.
const HEADER_BYTES: usize = 16;
/// Bytes of a block: small beside what a thousand entries take, large beside what is lost at its end.
const BLOCK_BYTES: usize = 4096;
/// The same as a distance of places.
const BLOCK_PLACES: u32 = 4096;
/// The most blocks at a time: places are distinct up to 4 GiB.
const BLOCKS_MAX: usize = 1 << 20;
/// What an allocator needs for one allocation, at most.
pub const ALLOCATION_BYTES: usize = 16;

/// What is known of one entry beside its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Hash of the ready event's id.
    pub ready_event: u32,
    /// Hash of the decision's id; none where there was none.
    pub decision: Option<u32>,
    /// When it ended, in seconds since 1970.
    pub done_at_s: u32,
    /// The source's number.
    pub source: u16,
    /// Bytes of the id.
    pub id_bytes: u8,
    /// The result's number in its enum, 0 to 15.
    pub result: u8,
    /// Whether it is only there until those before it are freed.
    pub is_removed: bool,
}

/// The bits of the last byte that are the result.
const RESULT: u8 = 0x0f;
/// The bit of the last byte that says that there is a decision.
const HAS_DECISION: u8 = 0x10;
/// The bit of the last byte that says that the entry is removed.
const IS_REMOVED: u8 = 0x20;

impl Header {
    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let has_decision = if self.decision.is_some() { HAS_DECISION } else { 0 };
        let is_removed = if self.is_removed { IS_REMOVED } else { 0 };
        let mut bytes = [0; HEADER_BYTES];
        let mut rest = bytes.as_mut_slice();
        rest.put_u32_le(self.ready_event);
        rest.put_u32_le(self.decision.unwrap_or_default());
        rest.put_u32_le(self.done_at_s);
        rest.put_u16_le(self.source);
        rest.put_u8(self.id_bytes);
        rest.put_u8((self.result & RESULT) | has_decision | is_removed);
        bytes
    }

    fn of_bytes(bytes: [u8; HEADER_BYTES]) -> Self {
        let mut rest = bytes.as_slice();
        let (ready_event, decision, done_at_s) = (rest.get_u32_le(), rest.get_u32_le(), rest.get_u32_le());
        let (source, id_bytes, last) = (rest.get_u16_le(), rest.get_u8(), rest.get_u8());
        Self {
            ready_event,
            decision: (last & HAS_DECISION != 0).then_some(decision),
            done_at_s,
            source,
            id_bytes,
            result: last & RESULT,
            is_removed: last & IS_REMOVED != 0,
        }
    }

    fn entry_bytes(self) -> usize {
        HEADER_BYTES + usize::from(self.id_bytes)
    }
}

/// The entries. A place is a number of bytes since the first entry ever, modulo 4 GiB.
#[derive(Default)]
pub struct Arena {
    /// Each has room for [`BLOCK_BYTES`], and holds whole entries.
    blocks: VecDeque<Vec<u8>>,
    /// The place where the first block begins.
    begin: u32,
    /// Bytes of the first block that are free again.
    freed: usize,
}

impl Arena {
    /// Puts an entry behind all others; its place, or none where 4 GiB are full.
    pub fn push(&mut self, header: Header, id: &[u8]) -> Option<u32> {
        let room = self.blocks.back().map_or(0, |block| BLOCK_BYTES - block.len());
        if room < header.entry_bytes() {
            if self.blocks.len() >= BLOCKS_MAX {
                return None;
            }
            self.blocks.push_back(Vec::with_capacity(BLOCK_BYTES));
        }
        let number = u32::try_from(self.blocks.len().checked_sub(1)?).ok()?;
        let block = self.blocks.back_mut()?;
        let offset = u32::try_from(block.len()).ok()?;
        block.extend(header.to_bytes());
        block.extend(id);
        Some(self.begin.wrapping_add(number.wrapping_mul(BLOCK_PLACES)).wrapping_add(offset))
    }

    /// The entry at a place that a push gave, unless it is freed.
    pub fn read(&self, place: u32) -> Option<(Header, &[u8])> {
        let (number, offset) = self.locate(place)?;
        read(self.blocks.get(number)?, offset)
    }

    /// Removes the entry at a place; frees it, and those behind it that are removed, if it is the first.
    pub fn remove(&mut self, place: u32) {
        let Some((number, offset)) = self.locate(place) else { return };
        let Some(block) = self.blocks.get_mut(number) else { return };
        let Some((header, _)) = read(block, offset) else { return };
        let removed = Header { is_removed: true, ..header }.to_bytes();
        if let Some(bytes) = block.get_mut(offset..).and_then(|rest| rest.first_chunk_mut()) {
            *bytes = removed;
        }
        self.free();
    }

    /// Every entry, removed ones too, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Header, &[u8])> {
        self.blocks.iter().enumerate().flat_map(|(number, block)| {
            let mut offset = if number == 0 { self.freed } else { 0 };
            std::iter::from_fn(move || {
                let (header, id) = read(block, offset)?;
                offset += header.entry_bytes();
                Some((header, id))
            })
        })
    }

    /// Bytes of memory that are held, those of the allocator included, at most.
    pub fn bytes(&self) -> usize {
        let list = self.blocks.capacity() * size_of::<Vec<u8>>() + ALLOCATION_BYTES;
        self.blocks.len() * (BLOCK_BYTES + ALLOCATION_BYTES) + list
    }

    fn locate(&self, place: u32) -> Option<(usize, usize)> {
        let distance = usize::try_from(place.wrapping_sub(self.begin)).ok()?;
        Some((distance / BLOCK_BYTES, distance % BLOCK_BYTES))
    }

    fn free(&mut self) {
        while let Some(block) = self.blocks.front() {
            match read(block, self.freed) {
                Some((header, _)) if header.is_removed => self.freed += header.entry_bytes(),
                Some(_) => return,
                None => {
                    self.blocks.pop_front();
                    self.freed = 0;
                    self.begin = self.begin.wrapping_add(BLOCK_PLACES);
                    // The list of blocks gives back what it has too much, too.
                    if self.blocks.len() * 3 < self.blocks.capacity() {
                        self.blocks.shrink_to(self.blocks.len() * 3 / 2);
                    }
                }
            }
        }
    }
}

fn read(block: &[u8], offset: usize) -> Option<(Header, &[u8])> {
    let (header, rest) = block.get(offset..)?.split_first_chunk()?;
    let header = Header::of_bytes(*header);
    Some((header, rest.get(..usize::from(header.id_bytes))?))
}

#[cfg(test)]
impl Arena {
    /// An arena whose first place is a multiple of a block's bytes.
    pub fn that_begins_at(begin: u32) -> Self {
        Self { begin, ..Self::default() }
    }
}
