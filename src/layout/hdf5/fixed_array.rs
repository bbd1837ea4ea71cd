//! Where the chunks of a dataset stand: HDF5's Fixed Array index, computed where it is read.
//!
//! A header names a data block that holds the address of every chunk, page by page, each page with a checksum.

use std::ops::Range;

use super::super::file::in_memory;
use super::lookup3::lookup3;

/// Bytes of the header.
pub(super) const HEADER_BYTES: u64 = 28;
const ADDRESS_BYTES: u64 = 8;
const CHECKSUM_BYTES: u64 = 4;
/// Bytes of a data block before the bits that say which pages are in use: signature, version, client, address of the header.
const SIGNATURE_BYTES: u64 = 14;
/// Addresses of a page, as a power of two, that libhdf5 writes. Fewer addresses than a page has stand in no page.
const PAGE_BITS: u8 = 10;
/// A reader takes the bits of all pages into memory: so many, unless a page is larger still.
const BITMAP_BYTES: u64 = 512 << 10;

/// The index of chunks that stand at equal distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct FixedArray {
    /// How many chunks there are: less than 2^52.
    n_chunks: u64,
    /// Addresses of a page, as a power of two.
    page_bits: u8,
    /// Where its header stands.
    pub(super) header: u64,
    /// Where the first chunk stands.
    pub(super) first: u64,
    /// From one chunk to the next.
    stride: u64,
}

impl FixedArray {
    /// The index of so many chunks, in a file whose addresses are not known yet.
    pub(super) fn new(n_chunks: u64, stride: u64) -> Self {
        let small = |bits: u8| n_chunks.div_ceil(1 << bits).div_ceil(8) <= BITMAP_BYTES.max(ADDRESS_BYTES << bits);
        let page_bits = (PAGE_BITS..63).find(|&bits| small(bits)).unwrap_or(63);
        Self { n_chunks, page_bits, header: 0, first: 0, stride }
    }

    /// Addresses of a page, as a power of two.
    pub(super) fn page_bits(&self) -> u8 {
        self.page_bits
    }

    /// The header of the index whose data block stands at an address.
    pub(super) fn header_bytes(&self, data_block: u64) -> Vec<u8> {
        // Version 0, chunks without filters, addresses of 8 bytes.
        let mut bytes = b"FAHD\0\0\x08".to_vec();
        bytes.push(self.page_bits);
        bytes.extend(self.n_chunks.to_le_bytes());
        bytes.extend(data_block.to_le_bytes());
        bytes.extend(lookup3(&bytes).to_le_bytes());
        bytes
    }

    /// Bytes of the data block.
    pub(in super::super) fn n_bytes(&self) -> u64 {
        let n_checksums = if self.is_paged() { 1 + self.n_pages() } else { 1 };
        SIGNATURE_BYTES + self.bitmap_bytes() + self.n_chunks * ADDRESS_BYTES + n_checksums * CHECKSUM_BYTES
    }

    /// A range of the data block, which lies inside it.
    pub(in super::super) fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        let mut window = Window { range, at: 0, bytes: Vec::new() };
        window.put(SIGNATURE_BYTES, |part| self.signature()[part].to_vec());
        if self.is_paged() {
            window.put(self.bitmap_bytes(), |part| self.bitmap(part));
            window.put(CHECKSUM_BYTES, |part| {
                let checked = [self.signature(), self.bitmap(0..in_memory(self.bitmap_bytes()))].concat();
                lookup3(&checked).to_le_bytes()[part].to_vec()
            });
        }
        let page_bytes = (ADDRESS_BYTES << self.page_bits) + CHECKSUM_BYTES;
        let begin = window.at;
        let pages = window.range.start.saturating_sub(begin) / page_bytes..self.n_pages();
        for page in pages {
            window.at = begin + page * page_bytes;
            if window.at >= window.range.end {
                break;
            }
            let chunks = page << self.page_bits..self.n_chunks.min((page + 1) << self.page_bits);
            let n_bytes = (chunks.end - chunks.start) * ADDRESS_BYTES;
            window.put(n_bytes, |part| self.addresses(chunks.start, part));
            window.put(CHECKSUM_BYTES, |part| {
                let before = if self.is_paged() { Vec::new() } else { self.signature() };
                let checked = [before, self.addresses(chunks.start, 0..in_memory(n_bytes))].concat();
                lookup3(&checked).to_le_bytes()[part].to_vec()
            });
        }
        window.bytes
    }

    fn n_pages(&self) -> u64 {
        self.n_chunks.div_ceil(1 << self.page_bits)
    }

    fn is_paged(&self) -> bool {
        self.n_pages() > 1
    }

    fn bitmap_bytes(&self) -> u64 {
        if self.is_paged() { self.n_pages().div_ceil(8) } else { 0 }
    }

    fn signature(&self) -> Vec<u8> {
        [b"FADB\0\0".as_slice(), &self.header.to_le_bytes()].concat()
    }

    /// A part of the bits of all pages, the first page's the highest: all are in use.
    fn bitmap(&self, part: Range<usize>) -> Vec<u8> {
        let mut bytes = vec![0xff; part.len()];
        let unused = self.bitmap_bytes() * 8 - self.n_pages();
        if let Some(last) = bytes.last_mut().filter(|_| part.end as u64 == self.bitmap_bytes()) {
            *last <<= unused;
        }
        bytes
    }

    /// A part of the addresses from a chunk on.
    fn addresses(&self, chunk: u64, part: Range<usize>) -> Vec<u8> {
        let whole = in_memory(ADDRESS_BYTES);
        let chunks = part.start / whole..part.end.div_ceil(whole);
        let skipped = chunks.start * whole;
        let mut bytes = Vec::with_capacity(chunks.len() * whole);
        for nth in chunks {
            bytes.extend_from_slice(&(self.first + (chunk + nth as u64) * self.stride).to_le_bytes());
        }
        bytes.truncate(part.end - skipped);
        bytes.drain(..part.start - skipped);
        bytes
    }
}

/// What a range takes of structures that stand one behind another.
struct Window {
    range: Range<u64>,
    /// Where the next structure begins.
    at: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Takes its part of the next structure, if it has one.
    fn put(&mut self, n_bytes: u64, part: impl FnOnce(Range<usize>) -> Vec<u8>) {
        let (begin, end) = (self.range.start.max(self.at), self.range.end.min(self.at + n_bytes));
        if begin < end {
            self.bytes.extend(part(in_memory(begin - self.at)..in_memory(end - self.at)));
        }
        self.at += n_bytes;
    }
}

#[cfg(test)]
pub(super) mod tests;
