//! What DVID says about an instance, in our terms: zyx and half-open boxes come out, xyz and inclusive ends end here.

use std::sync::Arc;

use serde::Deserialize;

use crate::geometry::{Coordinate, Scale, VoxelBox, VoxelSize};
use crate::voxels::Dtype;

use super::json::{Text, check_json, null_as_default, parse_json};
use super::payload::StoredForm;
use super::payload_error::PayloadError;
use super::repo_info::InstanceEntry;
use super::units::to_nanometers;

/// Of a server's words in the log.
const MAX_LOGGED_CHARS: usize = 300;
/// Voxels of a block beyond which it cannot be what DVID stores: 16 Mi, 128 MiB of labels.
const MAX_BLOCK_VOXELS: u128 = 16 << 20;

/// One instance, as its `info` says at the mounted node.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceInfo {
    /// The name under which it was asked for.
    pub name: String,
    /// DVID's name of its type, such as `labelmap`; empty if it has none.
    pub typename: String,
    /// Identifies the data, across renames and servers; empty if it has none.
    pub data_uuid: String,
    /// Whether it follows versions. If not, writes through any node change it.
    pub versioned: bool,
    /// DVID's own bytes.
    pub json: Arc<[u8]>,
    /// Its voxels, or why it has none that can be served.
    pub voxels: Result<VoxelInfo, NoVoxels>,
}

/// What the voxels of an instance are like.
#[derive(Clone, Debug, PartialEq)]
pub struct VoxelInfo {
    /// The type of a voxel, or of one channel of it.
    pub dtype: Dtype,
    /// How many channels a voxel has: only of an image with more than one.
    pub channels: Option<usize>,
    /// Which of DVID's voxel types it is.
    pub kind: InstanceKind,
    /// Voxels of a block along each axis, zyx; the same at each scale.
    pub block_shape: Coordinate,
    /// The size of a voxel of scale 0 in nanometers, zyx.
    pub voxel_size: VoxelSize,
    /// What was odd about the metadata and yet could be read, one sentence each.
    pub notes: Vec<String>,
    /// The box of the data at scale 0, zyx, half-open; `None` if the server does not say, which is not an empty box.
    pub extents: Option<VoxelBox>,
    /// The largest scale that the instance itself may have.
    pub max_scale: Scale,
    /// The form in which the server says that it stores blocks.
    pub compression: StoredForm,
    /// Whether the blocks come from a bucket that the server stands before.
    pub grid_store: bool,
}

/// Which of DVID's voxel types an instance has. They differ in endpoints and payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstanceKind {
    /// `uint8blk` and its like.
    ImageBlk,
    /// `labelblk`: labels without scales.
    LabelBlk,
    /// `labelarray`: labels in label blocks.
    LabelArray,
    /// `labelmap`: supervoxels in label blocks, and bodies.
    LabelMap,
}

/// Why an instance has no voxels that can be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoVoxels {
    /// It has none, or none that this program or the server gives out.
    #[error("{0}")]
    Unserved(String),
    /// Its metadata are such as no array can have.
    #[error("bad metadata: {0}")]
    Bad(String),
    /// Its metadata could not be had at this mount. Another one may have them.
    #[error("its metadata could not be had: {0}")]
    Unknown(String),
}

impl InstanceInfo {
    /// Reads the answer of `GET <instance>/info`.
    ///
    /// Metadata that no array can have make [`voxels`](Self::voxels) an error, not this.
    ///
    /// # Errors
    /// If the bytes are not JSON at all, or nested without sense.
    pub fn parse(name: &str, json: Vec<u8>) -> Result<Self, PayloadError> {
        check_json(&json)?;
        let base = parse_json::<OnlyBase>(&json).map(|info| info.base).unwrap_or_default();
        let typename = base.type_name.0.clone().unwrap_or_default();
        let voxels = voxels_of(&typename, &base, &json);
        Ok(Self {
            name: name.to_owned(),
            typename,
            data_uuid: base.data_uuid.0.unwrap_or_default(),
            versioned: base.versioned.unwrap_or_default(),
            json: json.into(),
            voxels,
        })
    }

    /// Logs what is wrong or odd about the metadata.
    pub(super) fn log_oddities(&self) {
        let name: String = self.name.chars().take(MAX_LOGGED_CHARS).flat_map(char::escape_debug).collect();
        let odd: &[String] = match &self.voxels {
            Err(NoVoxels::Bad(why)) => std::slice::from_ref(why),
            Err(NoVoxels::Unserved(_) | NoVoxels::Unknown(_)) => &[],
            Ok(voxels) => &voxels.notes,
        };
        for why in odd.iter().filter(|why| why.as_str() != OF_A_BUCKET) {
            let why: String = why.chars().take(MAX_LOGGED_CHARS).flat_map(char::escape_debug).collect();
            tracing::info!(target: "dvidfs", code = "bad_metadata", inst = name, cause = why);
        }
    }

    /// The same instance, without voxels if the repo's list of instances contradicts it.
    #[must_use]
    pub fn checked_against(mut self, entry: &InstanceEntry) -> Self {
        let contradiction = if self.typename != entry.typename {
            Some(format!("the repo says typename {:?}, the instance {:?}", entry.typename, self.typename))
        } else if self.data_uuid != entry.data_uuid {
            Some(format!("the repo says data UUID {:?}, the instance {:?}", entry.data_uuid, self.data_uuid))
        } else {
            let block_shapes = (entry.block_shape, self.voxels.as_ref().ok().map(|voxels| voxels.block_shape));
            match block_shapes {
                (Some(theirs), Some(ours)) if theirs != ours => {
                    Some(format!("the repo says blocks of {theirs} voxels (z,y,x), the instance {ours}"))
                }
                _ => None,
            }
        };
        if let Some(reason) = contradiction {
            self.voxels = Err(NoVoxels::Bad(reason));
        }
        self
    }
}

#[derive(Deserialize)]
struct OnlyBase {
    #[serde(rename = "Base", default, deserialize_with = "null_as_default")]
    base: Base,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Base {
    type_name: Text,
    #[serde(rename = "DataUUID")]
    data_uuid: Text,
    compression: Text,
    versioned: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Properties {
    #[serde(default, deserialize_with = "null_as_default")]
    extended: Extended,
    #[serde(default, deserialize_with = "null_as_default")]
    extents: Extents,
}

/// All in xyz. `MaxPoint` is inclusive, but for a bucket.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Extended {
    values: Option<Vec<ValueType>>,
    block_size: Option<[i64; 3]>,
    voxel_size: Option<[f64; 3]>,
    voxel_units: Option<[Text; 3]>,
    min_point: Option<[i64; 3]>,
    max_point: Option<[i64; 3]>,
    grid_store: Text,
    max_downres_level: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ValueType {
    data_type: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Extents {
    min_point: Option<[i64; 3]>,
    max_point: Option<[i64; 3]>,
}

fn voxels_of(typename: &str, base: &Base, json: &[u8]) -> Result<VoxelInfo, NoVoxels> {
    let (kind, dtype) = voxel_type(typename)?;
    let channels = (typename == RGBA).then_some(4);
    if base.data_uuid.0.as_deref().unwrap_or_default().is_empty() {
        return Err(NoVoxels::Bad("no DataUUID".into()));
    }
    let properties: Properties = parse_json(json).map_err(|error| NoVoxels::Bad(error.to_string()))?;
    let Properties { extended, extents } = properties;
    check_values(&extended, dtype, channels.unwrap_or(1))?;
    let mut notes = vec![];
    let block_shape = block_shape(&extended, kind)?;
    let compression = stored_form(base, kind, (dtype, channels), &mut notes)?;
    let grid_store = extended.grid_store.0.as_deref().is_some_and(|bucket| !bucket.is_empty());
    if grid_store {
        notes.push(OF_A_BUCKET.to_owned());
    }
    let corners = extents.min_point.zip(extents.max_point).or(extended.min_point.zip(extended.max_point));
    let extents = corners.map(|(min, max)| data_box(min, max, grid_store)).transpose()?;
    Ok(VoxelInfo {
        dtype,
        channels,
        kind,
        block_shape,
        voxel_size: voxel_size(&extended, &mut notes),
        extents,
        max_scale: max_scale(&extended, kind, &mut notes),
        compression,
        grid_store,
        notes,
    })
}

/// What is said of every instance that has its blocks from a bucket.
const OF_A_BUCKET: &str = "the blocks come from a bucket, and the server does not tell whether they are JPEG";

/// The only type whose voxels have channels: red, green, blue and alpha.
const RGBA: &str = "rgba8blk";

fn voxel_type(typename: &str) -> Result<(InstanceKind, Dtype), NoVoxels> {
    let no = |why: String| Err(NoVoxels::Unserved(why));
    match typename {
        "uint8blk" | RGBA => Ok((InstanceKind::ImageBlk, Dtype::Uint8)),
        "uint16blk" => Ok((InstanceKind::ImageBlk, Dtype::Uint16)),
        "uint32blk" => Ok((InstanceKind::ImageBlk, Dtype::Uint32)),
        "uint64blk" => Ok((InstanceKind::ImageBlk, Dtype::Uint64)),
        "float32blk" => Ok((InstanceKind::ImageBlk, Dtype::Float32)),
        "labelblk" => Ok((InstanceKind::LabelBlk, Dtype::Uint64)),
        "labelarray" => Ok((InstanceKind::LabelArray, Dtype::Uint64)),
        "labelmap" => Ok((InstanceKind::LabelMap, Dtype::Uint64)),
        "multichan16" => no("multichan16 gives no volumes, only 2-D images".into()),
        "googlevoxels" => no("googlevoxels stands before another service and is not supported".into()),
        "imagetile" => no("imagetile holds 2-D tiles, no volume".into()),
        "" => Err(NoVoxels::Bad("no TypeName".into())),
        "keyvalue" | "neuronjson" | "roi" | "annotation" | "labelsz" | "labelvol" | "labelgraph" | "tarsupervoxels" => {
            no(format!("{typename} holds no voxels"))
        }
        other => Err(NoVoxels::Bad(format!("unknown typename {other:?}"))),
    }
}

/// A byte order or a number of channels that differs from the typename's shows here.
fn check_values(extended: &Extended, dtype: Dtype, n_channels: usize) -> Result<(), NoVoxels> {
    match extended.values.as_deref() {
        None => Ok(()),
        Some(values) if values.len() == n_channels && values.iter().all(|value| value.data_type == dtype.name()) => {
            Ok(())
        }
        Some(values) => {
            let names: Vec<_> = values.iter().map(|value| value.data_type.as_str()).collect();
            Err(NoVoxels::Bad(format!("values {names:?} where {n_channels} of {dtype} belong")))
        }
    }
}

fn block_shape(extended: &Extended, kind: InstanceKind) -> Result<Coordinate, NoVoxels> {
    let xyz = extended.block_size.ok_or(NoVoxels::Bad("no BlockSize".into()))?;
    let no = |why| Err(NoVoxels::Bad(format!("BlockSize {xyz:?} {why}")));
    let shape = from_xyz(xyz);
    // Three of the largest numbers have a product that no integer type holds.
    let n_voxels = xyz.iter().try_fold(1_u128, |product, &n| product.checked_mul(n.unsigned_abs().into()));
    let in_label_blocks = matches!(kind, InstanceKind::LabelArray | InstanceKind::LabelMap);
    if !Coordinate::ZERO.all_lt(shape) {
        no("has no extent")
    } else if n_voxels.is_none_or(|n| n > MAX_BLOCK_VOXELS) {
        no("is too large")
    } else if in_label_blocks && xyz.iter().any(|n| n % 8 != 0) {
        no("is no multiple of 8")
    } else {
        Ok(shape)
    }
}

fn stored_form(
    base: &Base,
    kind: InstanceKind,
    (dtype, channels): (Dtype, Option<usize>),
    notes: &mut Vec<String>,
) -> Result<StoredForm, NoVoxels> {
    let text = base.compression.0.clone().unwrap_or_default();
    let has = |word| text.to_ascii_lowercase().contains(word);
    let form = if has("jpeg") {
        StoredForm::Jpeg
    } else if has("lz4") {
        StoredForm::Lz4
    } else if has("gzip") {
        StoredForm::Gzip
    } else if has("snappy") {
        StoredForm::Snappy
    } else if has("no compression") {
        StoredForm::None
    } else {
        notes.push(format!("unknown compression {text:?}: each block is taken as what it looks like"));
        StoredForm::Lz4
    };
    match (kind, form) {
        (InstanceKind::ImageBlk, StoredForm::Jpeg) if (dtype, channels) != (Dtype::Uint8, None) => {
            let voxels = channels.map_or(format!("{dtype} voxels"), |n| format!("voxels of {n} channels"));
            Err(NoVoxels::Unserved(format!("{voxels} that are stored as JPEG are mangled by the server")))
        }
        (
            InstanceKind::LabelArray | InstanceKind::LabelMap,
            StoredForm::Lz4 | StoredForm::Snappy | StoredForm::Jpeg,
        ) if !text.is_empty() => {
            Err(NoVoxels::Unserved(format!("the server cannot give out label blocks that are stored with {text:?}")))
        }
        _ => Ok(form),
    }
}

/// The half-open box of two corners: the last is inclusive, but for a bucket, where it is the volume's size.
fn data_box(min_xyz: [i64; 3], max_xyz: [i64; 3], grid_store: bool) -> Result<VoxelBox, NoVoxels> {
    let bad = |why| NoVoxels::Bad(format!("MinPoint {min_xyz:?}, MaxPoint {max_xyz:?} {why}"));
    if min_xyz.iter().chain(&max_xyz).any(|&n| i32::try_from(n).is_err()) {
        return Err(bad("beyond the 32 bits that DVID's requests have"));
    }
    let behind = Coordinate::splat(if grid_store { 0 } else { 1 });
    let (begin, end) = (from_xyz(min_xyz), from_xyz(max_xyz) + behind);
    match VoxelBox::new(begin, end) {
        Some(data) if !data.is_empty() => Ok(data),
        _ => Err(bad("enclose nothing")),
    }
}

fn voxel_size(extended: &Extended, notes: &mut Vec<String>) -> VoxelSize {
    let Some(xyz) = extended.voxel_size else {
        notes.push("no VoxelSize: 1 nm is assumed".into());
        return VoxelSize::UNIT;
    };
    let mut nm = xyz;
    if let Some(units) = &extended.voxel_units {
        for (nm, unit) in nm.iter_mut().zip(units) {
            let unit = unit.0.as_deref().unwrap_or_default();
            *nm = to_nanometers(*nm, unit).unwrap_or_else(|| {
                let note = format!("unknown VoxelUnits {unit:?}: taken as nanometers");
                if !notes.contains(&note) {
                    notes.push(note);
                }
                *nm
            });
        }
    }
    let [x, y, z] = nm;
    // Sizes of a picometer's millionth or of a thousand kilometers are no sizes, and their products overflow.
    let sensible = nm.iter().all(|nm| (1e-9..=1e15).contains(nm));
    VoxelSize::new([z, y, x]).filter(|_| sensible).unwrap_or_else(|| {
        notes.push(format!("VoxelSize {xyz:?} makes no sense: 1 nm is assumed"));
        VoxelSize::UNIT
    })
}

fn max_scale(extended: &Extended, kind: InstanceKind, notes: &mut Vec<String>) -> Scale {
    let claimed = match kind {
        InstanceKind::ImageBlk | InstanceKind::LabelBlk => return Scale::FULL,
        InstanceKind::LabelArray | InstanceKind::LabelMap => extended.max_downres_level.unwrap_or(0),
    };
    match u8::try_from(claimed) {
        Ok(scale) if scale <= Scale::MAX.0 => Scale(scale),
        _ => {
            notes.push(format!("MaxDownresLevel {claimed}: scales beyond {} are hidden", Scale::MAX));
            if claimed < 0 { Scale::FULL } else { Scale::MAX }
        }
    }
}

/// The only way in for three numbers of DVID.
pub(super) fn from_xyz([x, y, z]: [i64; 3]) -> Coordinate {
    Coordinate::new(z, y, x)
}

#[cfg(test)]
mod tests;
