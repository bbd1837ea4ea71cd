//! Makes the tree of a mount from its contents.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::array::{Freshness, ReadVoxels};
use crate::layout::{self, Entry, LayoutOptions};

use super::contents::{InstanceFiles, ViewFiles};
use super::control::ControlFile;
use super::error::BuildError;
use super::inode::InodeTable;
use super::names::{MAX_NAME_BYTES, escape};
use super::tree::{Chunks, Fixed, FixedNode, Folder, ROOT, Row, Tree};

/// The directory of boxes.
const BOXES: &str = "boxes";
/// No log has more than ten lines of a kind at once.
const MAX_ESCAPED_LINES: usize = 9;

/// The files of the root that are not an instance's.
pub(super) struct RootFiles {
    pub(super) readme: String,
    pub(super) node: Value,
    pub(super) config: Value,
}

/// Lays out everything; inode numbers follow the order of the names, so the same contents give the same numbers.
pub(super) fn build(
    root: RootFiles,
    instances: Vec<InstanceFiles>,
    boxes: Vec<InstanceFiles>,
    layouts: &LayoutOptions,
) -> Result<Tree, BuildError> {
    let mut inodes = InodeTable::default();
    let mut rows = RowBuilder::new(&mut inodes, layouts)?;
    let root_folder = rows.folder(ROOT);
    rows.text(root_folder, "README.txt", root.readme.into_bytes().into(), Freshness::Forever);
    rows.text(root_folder, "node.json", json_bytes(&root.node), Freshness::Forever);
    let control = rows.subfolder(root_folder, ".dvidfs");
    rows.text(control, "config.json", json_bytes(&root.config), Freshness::Forever);
    for file in ControlFile::ALL {
        rows.add(control, file.name(), FixedNode::Control(file));
    }
    // An empty directory would ask what it is for.
    let boxes_folder = (!boxes.is_empty()).then(|| rows.subfolder(root_folder, BOXES));
    let mut root_nodes = rows.into_nodes();

    add_instances(&mut inodes, layouts, (&mut root_nodes, root_folder), instances)?;
    if let Some(folder) = boxes_folder {
        add_instances(&mut inodes, layouts, (&mut root_nodes, folder), boxes)?;
    }
    finish_nodes(&mut inodes, 0, root_nodes);
    Ok(Tree { inodes })
}

/// Lays out instances as directories of a directory of the root's row.
fn add_instances(
    inodes: &mut InodeTable<Row>,
    layouts: &LayoutOptions,
    (root_nodes, parent): (&mut [Fixed], u64),
    instances: Vec<InstanceFiles>,
) -> Result<(), BuildError> {
    let mut named: Vec<_> = instances.into_iter().map(|instance| (escape(&instance.name), instance)).collect();
    log_escaped(&named);
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    if let Some(pair) = named.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(BuildError::SameName(pair[0].0.clone()));
    }
    for (name, instance) in named {
        let mut rows = RowBuilder::new(inodes, layouts)?;
        let folder = rows.instance(parent, instance)?;
        rows.finish();
        let at = usize::try_from(parent - ROOT).expect("the root's row has as many nodes as its vector");
        link(root_nodes, at, name, folder, true);
    }
    Ok(())
}

/// Tells which instances go by another name here: a line each, and one for those beyond the first few.
fn log_escaped(named: &[(String, InstanceFiles)]) {
    let escaped: Vec<_> = named.iter().filter(|(name, instance)| *name != instance.name).collect();
    for (name, instance) in escaped.iter().take(MAX_ESCAPED_LINES) {
        let shown: String = instance.name.chars().take(MAX_NAME_BYTES).flat_map(char::escape_debug).collect();
        tracing::info!(
            code = "name_escaped",
            inst = shown,
            path = name.as_str(),
            "an instance has a name that no file can have"
        );
    }
    if let Some(more) = escaped.len().checked_sub(MAX_ESCAPED_LINES).filter(|&more| more > 0) {
        tracing::info!(code = "name_escaped", more, "further instances have names that no file can have");
    }
}

/// JSON for people to read.
fn json_bytes(value: &Value) -> Arc<[u8]> {
    format!("{value:#}\n").into_bytes().into()
}

fn link(nodes: &mut [Fixed], at: usize, name: String, inode: u64, is_folder: bool) {
    if let Some(Fixed { node: FixedNode::Folder(folder), .. }) = nodes.get_mut(at) {
        folder.children.push((name, inode));
        folder.n_folders += u64::from(is_folder);
    }
}

/// Puts the nodes into their row, the names of each directory in order.
fn finish_nodes(inodes: &mut InodeTable<Row>, first: u64, mut nodes: Vec<Fixed>) {
    for fixed in &mut nodes {
        if let FixedNode::Folder(folder) = &mut fixed.node {
            folder.children.sort();
        }
    }
    if let Some(row) = inodes.row_mut(first) {
        *row = Row::Fixed(nodes);
    }
}

/// All layouts of an array that can hold it; `attrs` tells which, and why others cannot.
fn lay_out(array: &dyn ReadVoxels, layouts: &LayoutOptions, attrs: &mut Value) -> Vec<(String, Entry)> {
    let (mut shown, mut left_out) = (Vec::new(), Map::new());
    for kind in &layouts.kinds {
        match kind.entry(array.spec(), layouts) {
            Ok(entry) => {
                if let Entry::Folder(folder) = &entry {
                    left_out.extend(
                        folder
                            .left_out
                            .iter()
                            .map(|(pattern, reason)| (format!("{}/{pattern}", kind.name()), reason.to_string().into())),
                    );
                }
                shown.push((kind.name(), entry));
            }
            Err(reason) => {
                left_out.insert(kind.name(), reason.to_string().into());
            }
        }
    }
    if let Some(attrs) = attrs.as_object_mut() {
        attrs.insert("layouts".into(), shown.iter().map(|(name, _)| name.as_str()).collect());
        attrs.insert("layouts_left_out".into(), left_out.into());
    }
    shown
}

/// The fixed nodes of one row while they are made, and the rows of its chunks behind it.
struct RowBuilder<'a> {
    inodes: &'a mut InodeTable<Row>,
    layouts: &'a LayoutOptions,
    /// The inode number of position 0.
    first: u64,
    nodes: Vec<Fixed>,
}

impl<'a> RowBuilder<'a> {
    fn new(inodes: &'a mut InodeTable<Row>, layouts: &'a LayoutOptions) -> Result<Self, BuildError> {
        // Fixed nodes are few: one slot holds them all.
        let first = inodes.append(1, Row::Fixed(Vec::new()))?;
        Ok(Self { inodes, layouts, first, nodes: Vec::new() })
    }

    fn into_nodes(self) -> Vec<Fixed> {
        self.nodes
    }

    fn finish(self) {
        finish_nodes(self.inodes, self.first, self.nodes);
    }

    fn push(&mut self, parent: u64, node: FixedNode) -> u64 {
        self.nodes.push(Fixed { parent, node });
        self.first + self.nodes.len() as u64
    }

    /// A directory that the caller links.
    fn folder(&mut self, parent: u64) -> u64 {
        self.push(parent, FixedNode::Folder(Folder::default()))
    }

    fn add(&mut self, folder: u64, name: &str, node: FixedNode) -> u64 {
        let is_folder = matches!(node, FixedNode::Folder(_));
        let inode = self.push(folder, node);
        let at = self.index(folder);
        link(&mut self.nodes, at, name.to_owned(), inode, is_folder);
        inode
    }

    fn subfolder(&mut self, folder: u64, name: &str) -> u64 {
        self.add(folder, name, FixedNode::Folder(Folder::default()))
    }

    fn text(&mut self, folder: u64, name: &str, bytes: Arc<[u8]>, freshness: Freshness) {
        self.add(folder, name, FixedNode::Text(bytes, freshness));
    }

    /// Where a node of this row lies in `nodes`.
    fn index(&self, inode: u64) -> usize {
        usize::try_from(inode - self.first).expect("a row has as many fixed nodes as its vector") - 1
    }

    fn instance(&mut self, parent: u64, instance: InstanceFiles) -> Result<u64, BuildError> {
        let InstanceFiles { name: _, typename: _, info, freshness, view, supervoxels } = instance;
        let folder = self.folder(parent);
        // DVID's own words, or none: an empty file would be taken for them.
        if !info.is_empty() {
            self.text(folder, "info", info, freshness);
        }
        self.view(folder, view, freshness)?;
        if let Some(view) = supervoxels {
            let subfolder = self.subfolder(folder, "supervoxels");
            self.view(subfolder, view, freshness)?;
        }
        Ok(folder)
    }

    fn view(&mut self, folder: u64, mut view: ViewFiles, freshness: Freshness) -> Result<(), BuildError> {
        let laid_out =
            view.array.as_deref().map(|array| lay_out(array, self.layouts, &mut view.attrs)).unwrap_or_default();
        self.text(folder, "attrs.json", json_bytes(&view.attrs), freshness);
        if let Some(neuroglancer) = view.neuroglancer {
            self.text(folder, "neuroglancer.json", json_bytes(&neuroglancer), freshness);
        }
        let Some(array) = view.array else { return Ok(()) };
        for (name, entry) in laid_out {
            self.entry(folder, &name, entry, &array)?;
        }
        Ok(())
    }

    fn entry(&mut self, at: u64, name: &str, entry: Entry, array: &Arc<dyn ReadVoxels>) -> Result<(), BuildError> {
        match entry {
            Entry::Document(document) => {
                self.add(at, name, FixedNode::Document(document, Arc::clone(array)));
            }
            Entry::File(file) => {
                self.add(at, name, FixedNode::Voxels(file, Arc::clone(array)));
            }
            Entry::Folder(folder) => {
                let subfolder = self.subfolder(at, name);
                self.layout(subfolder, folder, array)?;
            }
        }
        Ok(())
    }

    fn layout(&mut self, at: u64, folder: layout::Folder, array: &Arc<dyn ReadVoxels>) -> Result<(), BuildError> {
        for (name, entry) in folder.entries {
            self.entry(at, &name, entry, array)?;
        }
        for grid in folder.chunks {
            let n_nodes = grid.n_nodes();
            let row = Chunks { parent: at, grid, array: Arc::clone(array) };
            let first = self.inodes.append(n_nodes, Row::Chunks(Box::new(row)))?;
            let index = self.index(at);
            if let Some(Fixed { node: FixedNode::Folder(folder), .. }) = self.nodes.get_mut(index) {
                folder.chunks.push(first);
            }
        }
        Ok(())
    }
}
