//! What an entry is the entry of.

use crate::dvid::Identity;
use crate::geometry::{BlockIndex, Scale};

/// The format of entries and of their keys. Another one has another directory, too.
pub(super) const FORMAT: u16 = 1;
/// The kind of entry that describes a node.
const NODE: &[u8] = b"node";

/// All that tells an entry from others, as one row of fields, each behind its length.
///
/// The address of the server is no part of it: the same data may be had from several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct EntryKey(Vec<u8>);

impl EntryKey {
    /// One block as it is stored at a node: of a labelmap, its supervoxels, which bodies are mapped from.
    pub(in super::super) fn block(of: &Identity, scale: Scale, block: BlockIndex) -> Self {
        let [z, y, x] = block.0.axes().map(i64::to_le_bytes);
        Self::of(b"block", of, &[&[scale.0], b"supervoxels", &[of.encoding], &z, &y, &x])
    }

    /// The head of the mapping of bodies.
    pub(in super::super) fn mapping_head(of: &Identity) -> Self {
        Self::of(b"mapping head", of, &[])
    }

    /// A part of the mapping of bodies.
    pub(in super::super) fn mapping_part(of: &Identity, part: u64) -> Self {
        Self::of(b"mapping part", of, &[&part.to_le_bytes()])
    }

    /// What is known of a node beside its blocks: by the names that people mount it by, since that is how it is sought.
    pub(in super::super) fn node(server: &str, reference: &str) -> Self {
        Self::of_fields(&[&FORMAT.to_le_bytes(), NODE, server.as_bytes(), reference.as_bytes()])
    }

    /// Server and ref, if this is the key of a node.
    pub(super) fn as_node(&self) -> Option<(String, String)> {
        let text = |field: &[u8]| String::from_utf8(field.to_vec()).ok();
        match self.fields()?.as_slice() {
            [_, kind, server, reference] if *kind == NODE => Some((text(server)?, text(reference)?)),
            _ => None,
        }
    }

    fn of(kind: &[u8], identity: &Identity, rest: &[&[u8]]) -> Self {
        let Identity { root, data_uuid, version, typename, values, encoding: _ } = identity;
        let named = [root, data_uuid, version, typename, values].map(String::as_bytes);
        let format = FORMAT.to_le_bytes();
        let first: [&[u8]; 2] = [&format, kind];
        Self::of_fields(&first.iter().chain(&named).chain(rest).copied().collect::<Vec<_>>())
    }

    fn of_fields(fields: &[&[u8]]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        for field in fields {
            let length = u32::try_from(field.len()).expect("a field is short");
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(field);
        }
        Self(bytes)
    }

    /// A key as it was read from an entry.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// As it is hashed and written.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its fields; `None` if it is not made of whole ones.
    pub(super) fn fields(&self) -> Option<Vec<&[u8]>> {
        let (mut fields, mut rest) = (Vec::new(), self.0.as_slice());
        while !rest.is_empty() {
            let (length, behind) = rest.split_first_chunk::<4>()?;
            let (field, left) = behind.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
            fields.push(field);
            rest = left;
        }
        Some(fields)
    }
}
