//! A byte buffer that starts at a multiple of [`BLOCK`], which direct IO asks for. Safe code: some slack, and an offset.

use crate::disk::BLOCK;

/// Grows like a `Vec`, keeps its start aligned. New bytes are zero.
#[derive(Default)]
pub(crate) struct AlignedBuffer {
    room: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.room[self.start..self.start + self.length]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.room[self.start..self.start + self.length]
    }

    /// Cuts, or lengthens with zeros.
    pub(crate) fn resize(&mut self, length: usize) {
        self.reserve(length);
        if length > self.length {
            self.room[self.start + self.length..self.start + length].fill(0);
        }
        self.length = length;
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        self.reserve(end);
        self.room[self.start + self.length..self.start + end].copy_from_slice(bytes);
        self.length = end;
    }

    /// Gives memory back after an unusually large batch.
    pub(crate) fn shrink(&mut self, keep: usize) {
        if self.room.len() > keep + BLOCK {
            *self = Self::default();
        }
    }

    fn reserve(&mut self, capacity: usize) {
        if self.start + capacity <= self.room.len() {
            return;
        }
        let capacity = capacity.next_power_of_two().max(BLOCK);
        let mut room = vec![0; capacity + BLOCK];
        let start = room.as_ptr().align_offset(BLOCK);
        room[start..start + self.length].copy_from_slice(self.as_slice());
        self.room = room;
        self.start = start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_stays_aligned_and_the_bytes_survive_growth() {
        let mut buffer = AlignedBuffer::default();
        let mut expected = Vec::new();
        for i in 0..5000u32 {
            buffer.extend(&i.to_le_bytes());
            expected.extend(i.to_le_bytes());
            assert_eq!(buffer.as_slice().as_ptr().align_offset(BLOCK), 0);
        }
        assert_eq!(buffer.as_slice(), expected);
        buffer.resize(10);
        buffer.resize(20);
        assert_eq!(buffer.as_slice()[10..], [0; 10]);
    }
}
