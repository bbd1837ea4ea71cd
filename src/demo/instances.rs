//! The three datasets: what `dvidfs demo` shows, every type and odd case for tests, and a very large one.

use crate::geometry::{Coordinate, Scale, VoxelBox};
use crate::voxels::Dtype;

use super::dataset::{Dataset, InstanceSpec, Kind, Stored};

const NM_8: [&str; 3] = ["8", "8", "8"];

fn instance(name: &str, kind: Kind, begin: [i64; 3], end: [i64; 3]) -> InstanceSpec {
    let data = VoxelBox::new(begin.into(), end.into()).expect("boxes of the demo are in order");
    InstanceSpec {
        name: name.to_owned(),
        kind,
        stored: Stored::Lz4,
        block_shape: Coordinate::splat(64),
        data,
        voxel_size_xyz: NM_8,
        units: "nanometers",
        coarser_by: Scale::FULL,
        holes: false,
        null_extents: false,
        versioned: true,
    }
}

/// An image and its siblings `name_1` …: the data at half size each.
fn pyramid(base: &InstanceSpec, n_siblings: u8) -> Vec<InstanceSpec> {
    let sibling = |k| {
        let scale = Scale(k);
        InstanceSpec {
            name: format!("{}_{k}", base.name),
            data: base.data.at_scale(scale),
            coarser_by: scale,
            ..base.clone()
        }
    };
    std::iter::once(base.clone()).chain((1..=n_siblings).map(sibling)).collect()
}

impl Dataset {
    /// What `dvidfs demo` shows: gray tissue and its segmentation, that fit each other.
    #[must_use]
    pub fn standard() -> Self {
        let gray = instance("grayscale", Kind::Image(Dtype::Uint8), [0; 3], [256, 384, 512]);
        let mut instances = pyramid(&gray, 3);
        instances.push(instance("segmentation", Kind::LabelMap(3), [0; 3], [256, 384, 512]));
        let jpeg = instance("grayscalejpeg", Kind::Image(Dtype::Uint8), [0; 3], [128, 128, 256]);
        instances.push(InstanceSpec { stored: Stored::Jpeg, ..jpeg });
        instances.push(instance("notes", Kind::Other("keyvalue"), [0; 3], [0; 3]));
        Self::new("demo", instances)
    }

    /// Every type and odd case, small enough that every voxel can be compared by several readers.
    #[must_use]
    pub fn test() -> Self {
        let image = |name, begin, end| instance(name, Kind::Image(Dtype::Uint8), begin, end);
        let wide = |name, dtype| InstanceSpec {
            block_shape: Coordinate::splat(32),
            ..instance(name, Kind::Image(dtype), [0; 3], [40, 70, 100])
        };
        let mut instances = pyramid(&image("gray", [0; 3], [100, 130, 150]), 2);
        instances.extend([
            InstanceSpec { stored: Stored::Gzip, ..image("gray_gzip", [0; 3], [64, 70, 80]) },
            InstanceSpec { stored: Stored::None, ..image("gray_none", [0; 3], [64, 70, 80]) },
            InstanceSpec { stored: Stored::Snappy, ..image("gray_snappy", [0; 3], [40, 70, 80]) },
            InstanceSpec { stored: Stored::Jpeg, ..image("gray_jpeg", [0; 3], [64, 128, 128]) },
            wide("u16", Dtype::Uint16),
            wide("u32", Dtype::Uint32),
            wide("u64", Dtype::Uint64),
            wide("f32", Dtype::Float32),
            InstanceSpec { block_shape: Coordinate::splat(48), ..image("odd48", [0; 3], [100, 97, 50]) },
            InstanceSpec { block_shape: Coordinate::new(16, 32, 128), ..image("flatblocks", [0; 3], [40, 70, 300]) },
            InstanceSpec { voxel_size_xyz: ["3.2", "4", "40"], ..image("aniso", [0; 3], [30, 60, 90]) },
            InstanceSpec {
                voxel_size_xyz: ["0.008", "0.008", "0.05"],
                units: "microns",
                ..image("microns", [0; 3], [30, 60, 90])
            },
            image("neg", [-70, 20, -130], [10, 90, 30]),
            InstanceSpec { holes: true, block_shape: Coordinate::splat(32), ..image("holes", [0; 3], [100, 100, 100]) },
            InstanceSpec { null_extents: true, ..image("null", [0; 3], [64, 64, 64]) },
            InstanceSpec { versioned: false, ..image("unversioned", [0; 3], [64, 64, 64]) },
            image("odd name", [0; 3], [10, 20, 30]),
            image("odd%name", [0; 3], [10, 20, 30]),
            image("oddé", [0; 3], [10, 20, 30]),
            InstanceSpec { holes: true, ..instance("segmentation", Kind::LabelMap(3), [0; 3], [150, 140, 160]) },
            InstanceSpec {
                block_shape: Coordinate::splat(32),
                ..instance("seg32", Kind::LabelMap(2), [-40, 0, 33], [40, 70, 100])
            },
            InstanceSpec {
                block_shape: Coordinate::splat(48),
                ..instance("seg48", Kind::LabelMap(1), [0; 3], [50, 97, 60])
            },
            instance("labelarray", Kind::LabelArray(2), [0; 3], [100, 90, 80]),
            instance("kv", Kind::Other("keyvalue"), [0; 3], [0; 3]),
            instance("rois", Kind::Other("roi"), [0; 3], [0; 3]),
            instance("synapses", Kind::Other("annotation"), [0; 3], [0; 3]),
            instance("rgba", Kind::Other("rgba8blk"), [0; 3], [0; 3]),
        ]);
        let labelblk = instance("labelblk", Kind::LabelBlk, [0; 3], [70, 60, 50]);
        instances.extend(pyramid(&InstanceSpec { block_shape: Coordinate::splat(32), ..labelblk }, 1));
        Self::new("test", instances)
    }

    /// Volumes of 10^15 voxels over the same function, for benchmarks and for what must not grow with the volume.
    #[must_use]
    pub fn large() -> Self {
        let end = [100_032; 3];
        let gray = instance("grayscale", Kind::Image(Dtype::Uint8), [0; 3], end);
        let labels = instance("segmentation", Kind::LabelMap(0), [0; 3], end);
        Self::new("large", vec![gray, labels])
    }
}
