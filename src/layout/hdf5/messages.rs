//! The structures of an HDF5 file's metadata: object headers of version 2 and the messages in them.

use crate::voxels::Dtype;

use super::lookup3::lookup3;

/// "Nowhere" for an address.
pub(super) const UNDEFINED: u64 = u64::MAX;

/// The message stays as it is.
const CONSTANT: u8 = 1;
/// The message belongs to this object alone.
const NOT_SHARED: u8 = 4;

/// An object of the file while it is described.
#[derive(Debug, Default)]
pub(super) struct ObjectHeader {
    messages: Vec<u8>,
}

/// What an attribute holds: numbers or texts along one axis.
#[derive(Clone, Copy, Debug)]
pub(super) enum Values<'a> {
    Integers(&'a [i64]),
    Floats(&'a [f64]),
    Texts(&'a [&'a str]),
}

/// Which chunks a dataset has. All numbers are of all axes, slowest first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunked<'a> {
    /// Of a chunk.
    pub(super) shape: &'a [u64],
    /// Bytes of one value.
    pub(super) itemsize: u64,
    /// Addresses of a page of the index, as a power of two.
    pub(super) page_bits: u8,
    /// Where the header of the index stands.
    pub(super) index: u64,
}

/// `superblock` of version 3: the first 48 bytes of the file.
pub(super) fn superblock(file_bytes: u64, root_header: u64) -> Vec<u8> {
    let mut bytes = b"\x89HDF\r\n\x1a\n".to_vec();
    // Version 3, addresses and lengths of 8 bytes, nobody has the file open.
    bytes.extend([3, 8, 8, 0]);
    for number in [0, UNDEFINED, file_bytes, root_header] {
        bytes.extend(number.to_le_bytes());
    }
    with_checksum(bytes)
}

fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(lookup3(&bytes).to_le_bytes());
    bytes
}

impl ObjectHeader {
    /// A group that names its members by links.
    pub(super) fn group<'a>(links: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        let mut header = Self::default();
        header.message(0x02, 0, &all_here());
        header.message(0x0a, CONSTANT, &[0, 0]);
        for (name, address) in links {
            let n_bytes = u8::try_from(name.len()).expect("levels have short names");
            let mut link = vec![1, 0, n_bytes];
            link.extend(name.as_bytes());
            link.extend(address.to_le_bytes());
            header.message(0x06, 0, &link);
        }
        header
    }

    /// An array in chunks.
    pub(super) fn dataset(shape: &[u64], dtype: Dtype, chunked: Chunked<'_>) -> Self {
        let mut header = Self::default();
        header.message(0x01, 0, &dataspace(shape));
        header.message(0x03, CONSTANT, &datatype_of(dtype));
        // All chunks have their place already, and none is ever filled.
        header.message(0x05, CONSTANT, &[3, 5]);
        header.message(0x08, 0, &layout(chunked));
        // Without it readers find each attribute, but count none.
        header.message(0x15, NOT_SHARED, &all_here());
        header
    }

    /// Adds an attribute.
    pub(super) fn attribute(&mut self, name: &str, values: Values<'_>) {
        let (datatype, data) = (values.datatype(), values.data());
        let dataspace = dataspace(&[values.len() as u64]);
        let mut body = vec![3, 0];
        for n_bytes in [name.len() + 1, datatype.len(), dataspace.len()] {
            body.extend(u16::try_from(n_bytes).expect("attributes have short names").to_le_bytes());
        }
        // The name is ASCII.
        body.push(0);
        body.extend(name.as_bytes());
        body.push(0);
        body.extend([datatype, dataspace, data].concat());
        self.message(0x0c, 0, &body);
    }

    /// The bytes of the header.
    pub(super) fn finish(self) -> Vec<u8> {
        let n_bytes = u32::try_from(self.messages.len()).expect("levels are few, and their messages short");
        // Version 2; the length has 4 bytes.
        let mut bytes = b"OHDR\x02\x02".to_vec();
        bytes.extend(n_bytes.to_le_bytes());
        bytes.extend(self.messages);
        with_checksum(bytes)
    }

    fn message(&mut self, kind: u8, flags: u8, body: &[u8]) {
        let n_bytes = u16::try_from(body.len()).expect("no message here depends on the size of an array");
        self.messages.push(kind);
        self.messages.extend(n_bytes.to_le_bytes());
        self.messages.push(flags);
        self.messages.extend(body);
    }
}

impl Values<'_> {
    fn len(self) -> usize {
        match self {
            Self::Integers(values) => values.len(),
            Self::Floats(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    /// Bytes of each text, with the NUL that ends it.
    fn text_bytes(texts: &[&str]) -> usize {
        1 + texts.iter().map(|text| text.len()).max().unwrap_or(0)
    }

    fn datatype(self) -> Vec<u8> {
        match self {
            Self::Integers(_) => numbers([0x10, 0x08, 0, 0], 8, &[]),
            Self::Floats(_) => numbers([0x11, 0x20, 0x3f, 0], 8, &[0x34, 0x0b, 0, 0x34, 0xff, 0x03, 0, 0]),
            Self::Texts(texts) => {
                let n_bytes = u32::try_from(Self::text_bytes(texts)).expect("attributes hold words");
                let mut bytes = vec![0x13, 0, 0, 0];
                bytes.extend(n_bytes.to_le_bytes());
                bytes
            }
        }
    }

    fn data(self) -> Vec<u8> {
        match self {
            Self::Integers(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::Floats(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::Texts(texts) => {
                let n_bytes = Self::text_bytes(texts);
                texts.iter().flat_map(|text| text.bytes().chain(std::iter::repeat(0)).take(n_bytes)).collect()
            }
        }
    }
}

/// Where links or attributes are that have no room in the header: nowhere, neither a heap nor a tree of names.
fn all_here() -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend([UNDEFINED.to_le_bytes(); 2].concat());
    bytes
}

/// A fixed shape.
fn dataspace(shape: &[u64]) -> Vec<u8> {
    let rank = u8::try_from(shape.len()).expect("arrays have three or four axes");
    let mut bytes = vec![2, rank, 0, 1];
    bytes.extend(shape.iter().flat_map(|n| n.to_le_bytes()));
    bytes
}

fn datatype_of(dtype: Dtype) -> Vec<u8> {
    let unsigned = [0x10, 0, 0, 0];
    match dtype {
        Dtype::Uint8 => numbers(unsigned, 1, &[]),
        Dtype::Uint16 => numbers(unsigned, 2, &[]),
        Dtype::Uint32 => numbers(unsigned, 4, &[]),
        Dtype::Uint64 => numbers(unsigned, 8, &[]),
        Dtype::Float32 => numbers([0x11, 0x20, 0x1f, 0], 4, &[0x17, 0x08, 0, 0x17, 0x7f, 0, 0, 0]),
    }
}

/// Numbers whose bits fill all their bytes: class and sign, size, and where a float keeps its exponent and mantissa.
fn numbers(class: [u8; 4], n_bytes: u8, float: &[u8]) -> Vec<u8> {
    let mut bytes = class.to_vec();
    bytes.extend(u32::from(n_bytes).to_le_bytes());
    bytes.extend(0_u16.to_le_bytes());
    bytes.extend((u16::from(n_bytes) * 8).to_le_bytes());
    bytes.extend(float);
    bytes
}

/// Layout of version 4: chunks that a Fixed Array tells the places of.
fn layout(chunked: Chunked<'_>) -> Vec<u8> {
    let Chunked { shape, itemsize, page_bits, index } = chunked;
    let dims = || shape.iter().copied().chain([itemsize]);
    let rank = u8::try_from(shape.len() + 1).expect("arrays have three or four axes");
    let width = dims().map(n_bytes_of).max().unwrap_or(1);
    let mut bytes = vec![4, 2, 0, rank];
    bytes.push(u8::try_from(width).expect("a number has at most 8 bytes"));
    for n in dims() {
        bytes.extend(&n.to_le_bytes()[..width]);
    }
    bytes.extend([3, page_bits]);
    bytes.extend(index.to_le_bytes());
    bytes
}

/// Bytes that a number needs.
fn n_bytes_of(n: u64) -> usize {
    n.to_le_bytes().iter().rposition(|&byte| byte != 0).map_or(1, |last| last + 1)
}
