//! What lies where: inode numbers to places, names to inode numbers, and back. Pure arithmetic.

use std::borrow::Cow;
use std::sync::Arc;

use crate::array::{Freshness, ReadVoxels};
use crate::layout::{ChunkGrid, ChunkNode, Document, VoxelFile};

use super::control::ControlFile;
use super::inode::InodeTable;

/// The inode number of the root: position 1 of slot 0.
pub(super) const ROOT: u64 = 1;

/// The tree of a mount: it never changes.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) inodes: InodeTable<Row>,
}

/// What has its inodes numbered together.
#[derive(Debug)]
pub(super) enum Row {
    /// What has fixed names in one instance, or in the root. Position `i + 1` is the node `i`.
    Fixed(Vec<Fixed>),
    /// The chunks of one level.
    Chunks(Box<Chunks>),
}

/// A directory or file of a fixed name.
#[derive(Debug)]
pub(super) struct Fixed {
    pub(super) parent: u64,
    pub(super) node: FixedNode,
}

#[derive(Debug)]
pub(super) enum FixedNode {
    Folder(Folder),
    Text(Arc<[u8]>, Freshness),
    Document(Document, Arc<dyn ReadVoxels>),
    Voxels(Arc<VoxelFile>, Arc<dyn ReadVoxels>),
    Control(ControlFile),
}

/// A directory of fixed names, with chunks after them.
#[derive(Debug, Default)]
pub(super) struct Folder {
    /// Sorted by name.
    pub(super) children: Vec<(String, u64)>,
    /// How many of them are directories.
    pub(super) n_folders: u64,
    /// The inode number of the first of the chunks that lie here.
    pub(super) chunks: Option<u64>,
}

/// The chunks of one level.
#[derive(Debug)]
pub(super) struct Chunks {
    /// The level's directory.
    pub(super) parent: u64,
    pub(super) grid: ChunkGrid,
    pub(super) array: Arc<dyn ReadVoxels>,
}

impl FixedNode {
    fn n_voxel_bytes(&self) -> u64 {
        if let Self::Voxels(file, _) = self { file.n_bytes() } else { 0 }
    }
}

impl Chunks {
    /// How many names a directory of the grid has, and how many of them are directories.
    fn n_children(&self, of: Option<ChunkNode>) -> (u64, u64) {
        let n = self.grid.n_children(of);
        let holds_folders = self.grid.child(of, 0).is_some_and(|child| !self.grid.is_chunk(child));
        (n, if holds_folders { n } else { 0 })
    }
}

/// What an inode number stands for.
#[derive(Debug)]
pub(super) enum Place<'a> {
    Folder,
    Text(&'a Arc<[u8]>, Freshness),
    Document(&'a Document, &'a Arc<dyn ReadVoxels>),
    Control(ControlFile),
    Voxels(Cow<'a, VoxelFile>, &'a Arc<dyn ReadVoxels>),
}

/// A node with the row that it lies in.
enum Node<'a> {
    Fixed(&'a Fixed),
    /// With the inode number of the row's position 0.
    Chunk(&'a Chunks, u64, ChunkNode),
}

impl Tree {
    /// What this inode number stands for, if this tree gave it.
    pub(super) fn place(&self, inode: u64) -> Option<Place<'_>> {
        Some(match self.node(inode)? {
            Node::Fixed(fixed) => match &fixed.node {
                FixedNode::Folder(_) => Place::Folder,
                FixedNode::Text(bytes, freshness) => Place::Text(bytes, *freshness),
                FixedNode::Document(document, array) => Place::Document(document, array),
                FixedNode::Voxels(file, array) => Place::Voxels(Cow::Borrowed(file), array),
                FixedNode::Control(file) => Place::Control(*file),
            },
            Node::Chunk(chunks, _, node) if chunks.grid.is_chunk(node) => {
                Place::Voxels(Cow::Owned(chunks.grid.file(chunks.array.spec(), node)?), &chunks.array)
            }
            Node::Chunk(..) => Place::Folder,
        })
    }

    /// The directory that a node lies in; the root lies in itself.
    pub(super) fn parent(&self, inode: u64) -> Option<u64> {
        Some(match self.node(inode)? {
            Node::Fixed(fixed) => fixed.parent,
            Node::Chunk(chunks, first, node) => {
                chunks.grid.parent(node).map_or(chunks.parent, |parent| first + chunks.grid.position(parent))
            }
        })
    }

    /// What a directory holds under a name. A file holds nothing.
    pub(super) fn child(&self, inode: u64, name: &str) -> Option<u64> {
        if let Some((folder, fixed)) = self.folder(inode) {
            if let Ok(found) = fixed.children.binary_search_by(|(other, _)| other.as_str().cmp(name)) {
                return Some(fixed.children[found].1);
            }
            let (chunks, first) = folder?;
            return Some(first + chunks.grid.position(chunks.grid.child_named(None, name)?));
        }
        let Node::Chunk(chunks, first, node) = self.node(inode)? else { return None };
        Some(first + chunks.grid.position(chunks.grid.child_named(Some(node), name)?))
    }

    /// How many names a directory has, and how many of them are directories.
    pub(super) fn n_children(&self, inode: u64) -> (u64, u64) {
        if let Some((chunks, folder)) = self.folder(inode) {
            let (n, n_folders) = chunks.map_or((0, 0), |(chunks, _)| chunks.n_children(None));
            return (folder.children.len() as u64 + n, folder.n_folders + n_folders);
        }
        let Some(Node::Chunk(chunks, _, node)) = self.node(inode) else { return (0, 0) };
        chunks.n_children(Some(node))
    }

    /// A node of a directory by its place in the listing, from 0; its name replaces what is in `name`.
    pub(super) fn nth_child(&self, inode: u64, nth: u64, name: &mut String) -> Option<u64> {
        name.clear();
        let (chunks, first, of, nth) = if let Some((chunks, folder)) = self.folder(inode) {
            if let Some((known, inode)) = usize::try_from(nth).ok().and_then(|nth| folder.children.get(nth)) {
                name.push_str(known);
                return Some(*inode);
            }
            let (chunks, first) = chunks?;
            (chunks, first, None, nth - folder.children.len() as u64)
        } else {
            let Node::Chunk(chunks, first, node) = self.node(inode)? else { return None };
            (chunks, first, Some(node), nth)
        };
        let child = chunks.grid.child(of, nth)?;
        chunks.grid.write_name(child, name);
        Some(first + chunks.grid.position(child))
    }

    /// The path of a node from the root, for people; empty for the root itself.
    pub(super) fn path(&self, mut inode: u64) -> String {
        let mut names = Vec::new();
        while inode != ROOT {
            let Some(parent) = self.parent(inode) else { break };
            names.push(self.name_in(parent, inode).unwrap_or_default());
            inode = parent;
        }
        names.reverse();
        names.join("/")
    }

    /// Bytes of all files of voxels, and how many files and directories there are.
    pub(super) fn totals(&self) -> (u64, u64) {
        self.inodes.rows().fold((0_u64, 0_u64), |(bytes, nodes), row| match row {
            Row::Fixed(fixed) => {
                let in_files = fixed.iter().map(|fixed| fixed.node.n_voxel_bytes()).fold(0, u64::saturating_add);
                (bytes.saturating_add(in_files), nodes.saturating_add(fixed.len() as u64))
            }
            Row::Chunks(chunks) => {
                let grid = &chunks.grid;
                (bytes.saturating_add(grid.n_bytes()), nodes.saturating_add(grid.n_nodes()))
            }
        })
    }

    fn name_in(&self, parent: u64, inode: u64) -> Option<String> {
        if let Node::Chunk(chunks, _, node) = self.node(inode)? {
            let mut name = String::new();
            chunks.grid.write_name(node, &mut name);
            return Some(name);
        }
        let (_, folder) = self.folder(parent)?;
        folder.children.iter().find(|(_, child)| *child == inode).map(|(name, _)| name.clone())
    }

    fn node(&self, inode: u64) -> Option<Node<'_>> {
        let (row, position) = self.inodes.find(inode)?;
        match row {
            Row::Fixed(nodes) => {
                let at = usize::try_from(position).ok()?.checked_sub(1)?;
                nodes.get(at).map(Node::Fixed)
            }
            Row::Chunks(chunks) => Some(Node::Chunk(chunks, inode - position, chunks.grid.node(position)?)),
        }
    }

    /// A directory of fixed names, with its chunks and their first inode number.
    fn folder(&self, inode: u64) -> Option<(Option<(&Chunks, u64)>, &Folder)> {
        let Node::Fixed(Fixed { node: FixedNode::Folder(folder), .. }) = self.node(inode)? else { return None };
        let chunks = folder.chunks.and_then(|first| match self.inodes.find(first)?.0 {
            Row::Chunks(chunks) => Some((chunks.as_ref(), first)),
            Row::Fixed(_) => None,
        });
        Some((chunks, folder))
    }
}
