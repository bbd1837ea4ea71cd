use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fuzz::STEP;

use super::super::test_support::{body, names};
use super::*;

fn recorded(name: &str) -> InstanceInfo {
    InstanceInfo::parse(name, body(name)).unwrap()
}

#[track_caller]
fn voxels(name: &str) -> VoxelInfo {
    recorded(name).voxels.unwrap()
}

fn a_box(begin: [i64; 3], end: [i64; 3]) -> Option<VoxelBox> {
    VoxelBox::new(begin.into(), end.into())
}

#[test]
fn a_recorded_image_comes_out_whole() {
    let info = recorded("info-grayscale");
    assert_eq!(info.json.as_ref(), body("info-grayscale"), "DVID's own bytes");
    assert_eq!((&info.typename[..], &info.data_uuid[..]), ("uint8blk", "99a6f9e6761543f4ae789da5d8375c43"));
    assert!(info.versioned);
    let expected = VoxelInfo {
        dtype: Dtype::Uint8,
        channels: None,
        kind: InstanceKind::ImageBlk,
        block_shape: Coordinate::splat(64),
        voxel_size: VoxelSize::new([10.0; 3]).unwrap(),
        notes: vec![],
        extents: a_box([0; 3], [256; 3]),
        max_scale: Scale(0),
        compression: StoredForm::Lz4,
        grid_store: false,
    };
    assert_eq!(info.voxels, Ok(expected));
}

#[test]
fn dtypes_kinds_and_scales_are_those_of_the_typename() {
    use InstanceKind::{ImageBlk, LabelArray, LabelBlk, LabelMap};
    for (name, dtype, kind, max_scale) in [
        ("info-u16", Dtype::Uint16, ImageBlk, 0),
        ("info-u32", Dtype::Uint32, ImageBlk, 0),
        ("info-u64img", Dtype::Uint64, ImageBlk, 0),
        ("info-f32", Dtype::Float32, ImageBlk, 0),
        ("info-labelblk", Dtype::Uint64, LabelBlk, 0),
        ("info-labelarray", Dtype::Uint64, LabelArray, 2),
        ("info-segmentation", Dtype::Uint64, LabelMap, 3),
        ("info-seg_none", Dtype::Uint64, LabelMap, 0),
    ] {
        let voxels = voxels(name);
        assert_eq!((voxels.dtype, voxels.kind, voxels.max_scale), (dtype, kind, Scale(max_scale)), "{name}");
    }
}

#[test]
fn xyz_turns_into_zyx_and_the_last_voxel_into_the_end() {
    let aniso = voxels("info-aniso");
    assert_eq!(aniso.block_shape, Coordinate::new(16, 32, 64));
    assert_eq!(aniso.voxel_size.nm(), [40.0, 4.0, 4.0]);
    assert_eq!(voxels("info-neg").extents, a_box([-192, -64, -128], [-128, 0, -64]));
    assert_eq!(voxels("info-late").extents, a_box([0, 0, 64], [64, 64, 128]));
    assert_eq!(voxels("info-labelblk").extents, a_box([0; 3], [64; 3]), "it has no Extents of its own");
}

#[test]
fn the_last_point_of_a_bucket_is_the_volumes_size() {
    for (name, shape) in [("grid-info-em", [100, 130, 200]), ("grid-info-rawem", [64, 64, 128])] {
        let voxels = voxels(name);
        assert_eq!((voxels.extents, voxels.grid_store), (a_box([0; 3], shape), true), "{name}");
        assert_eq!(voxels.compression, StoredForm::Jpeg);
    }
}

#[test]
fn null_extents_are_unknown_and_no_empty_box() {
    for name in ["info-empty", "info-gray_ingest", "info-seg_empty", "info-seg_ingest"] {
        assert_eq!(voxels(name).extents, None, "{name}");
    }
}

#[test]
fn stored_forms_are_read_from_the_compression() {
    use StoredForm::{Gzip, Jpeg, Lz4, None, Snappy};
    for (name, form) in
        [("gray32", Lz4), ("gray_gzip", Gzip), ("gray_none", None), ("gray_jpeg", Jpeg), ("gray_snappy", Snappy)]
    {
        assert_eq!(voxels(&format!("info-{name}")).compression, form, "{name}");
    }
    assert!(recorded("info-seg_lz4").voxels.unwrap_err().to_string().contains("LZ4"));
}

#[test]
fn every_recorded_instance_has_voxels_or_a_reason() {
    let without = [
        ("labelvol", "labelvol holds no voxels"),
        ("roi", "roi holds no voxels"),
        ("roi_empty", "roi holds no voxels"),
        ("synapses", "annotation holds no voxels"),
        ("kv", "keyvalue holds no voxels"),
        ("nj", "neuronjson holds no voxels"),
        ("tarsv", "tarsupervoxels holds no voxels"),
        ("sizes", "labelsz holds no voxels"),
        ("tiles", "imagetile holds 2-D tiles, no volume"),
        ("unversioned_kv", "keyvalue holds no voxels"),
        ("odd-name", "keyvalue holds no voxels"),
        ("odd-percent", "keyvalue holds no voxels"),
        ("seg_lz4", "the server cannot give out label blocks that are stored with \"LZ4 compression, level -1\""),
    ];
    let all: Vec<_> = names("info-").into_iter().chain(names("grid-info-")).collect();
    assert_eq!(all.len(), 46);
    for name in all {
        let reason = without.iter().find(|(short, _)| name.strip_prefix("info-") == Some(*short)).map(|(_, why)| *why);
        assert_eq!(recorded(name).voxels.err().map(|why| why.to_string()).as_deref(), reason, "{name}");
    }
    assert!(!recorded("info-unversioned").versioned && !recorded("info-unversioned_kv").versioned);
}

/// The recorded labelmap with one value of it replaced.
fn with(path: &str, value: Value) -> InstanceInfo {
    let mut json: Value = serde_json::from_slice(&body("info-segmentation")).unwrap();
    *json.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value;
    InstanceInfo::parse("segmentation", json.to_string().into_bytes()).unwrap()
}

/// The recorded labelmap with a piece of its text replaced, for numbers that no `Value` holds.
fn with_text(old: &str, new: &str) -> InstanceInfo {
    let json = String::from_utf8(body("info-segmentation")).unwrap();
    assert!(json.contains(old), "{old}");
    InstanceInfo::parse("segmentation", json.replace(old, new).into_bytes()).unwrap()
}

#[test]
fn numbers_that_no_block_has_leave_no_voxels() {
    for size in [
        json!([0, 64, 64]),
        json!([64, -64, 64]),
        json!([1_000_000_000, 64, 64]),
        json!([1_000_000_000, 1_000_000_000, 1_000_000_000]),
        json!([i64::MAX, i64::MAX, i64::MAX]),
        json!([64, 64, 60]),
        json!([64, 64]),
        json!([64, 64, 64, 64]),
        json!([64, 64, 1.5]),
        json!([64, 64, "64"]),
        json!("64,64,64"),
        json!(64),
        Value::Null,
    ] {
        let voxels = with("/Extended/BlockSize", size.clone()).voxels;
        assert!(voxels.as_ref().is_err_and(|why| why.to_string().starts_with("bad metadata")), "{size}: {voxels:?}");
    }
    for number in ["18446744073709551616", "1e400", "1e2", "-1"] {
        assert!(with_text("[64,64,64]", &format!("[64,64,{number}]")).voxels.is_err(), "{number}");
    }
    assert_eq!(
        with("/Extended/BlockSize", json!([8, 16, 128])).voxels.unwrap().block_shape,
        Coordinate::new(128, 16, 8)
    );
}

#[test]
fn points_that_enclose_nothing_leave_no_voxels() {
    for (min, max) in [
        (json!([0, 0, 9]), json!([63, 63, 7])),
        (json!([0, 0, 0]), json!([63, 63, -1])),
        (json!([i64::MIN, 0, 0]), json!([i64::MAX, 63, 63])),
        (json!([0, 0, 0]), json!([i64::from(i32::MAX) + 1, 63, 63])),
        (json!([0, 0]), json!([63, 63])),
        (json!([0, 0, 0]), json!([1.5, 63, 63])),
    ] {
        let mut json: Value = serde_json::from_slice(&body("info-segmentation")).unwrap();
        json["Extents"] = json!({"MinPoint": min, "MaxPoint": max});
        let info = InstanceInfo::parse("segmentation", json.to_string().into_bytes()).unwrap();
        assert!(info.voxels.is_err(), "{min} to {max}");
    }
    let largest = json!([i32::MAX, i32::MAX, i32::MAX]);
    let voxels = with("/Extents/MaxPoint", largest).voxels.unwrap();
    assert_eq!(voxels.extents.unwrap().end(), Coordinate::splat(1 << 31));
}

#[test]
fn extents_come_before_the_unversioned_points_and_each_may_be_null() {
    let unversioned = a_box([0; 3], [256; 3]);
    assert_eq!(with("/Extents/MaxPoint", json!([63, 127, 255])).voxels.unwrap().extents, a_box([0; 3], [256, 128, 64]));
    assert_eq!(with("/Extents/MaxPoint", Value::Null).voxels.unwrap().extents, unversioned);
    assert_eq!(with("/Extents", Value::Null).voxels.unwrap().extents, unversioned);
    assert!(with("/Extended", Value::Null).voxels.is_err());
}

#[test]
fn scales_that_no_volume_has_are_hidden() {
    for (claimed, served, n_notes) in [(7, 7, 0), (20, 20, 0), (21, 20, 1), (200, 20, 1), (-1, 0, 1)] {
        let voxels = with("/Extended/MaxDownresLevel", json!(claimed)).voxels.unwrap();
        assert_eq!((voxels.max_scale, voxels.notes.len()), (Scale(served), n_notes), "{claimed}");
    }
}

#[test]
fn a_voxel_size_is_read_from_its_text_and_in_its_units() {
    for (size, units, nm) in [
        (json!([3.2, 3.2, 40]), json!(["nanometers", "nm", ""]), [40.0, 3.2, 3.2]),
        (json!([0.0032, 0.0032, 0.04]), json!(["microns", "um", "micrometers"]), [40.0, 3.2, 3.2]),
        (json!([3200, 32, 8]), json!(["pm", "angstrom", "nanometers"]), [8.0, 3.2, 3.2]),
        (json!([8.1, 7.9, 0.1]), Value::Null, [0.1, 7.9, 8.1]),
    ] {
        let mut json: Value = serde_json::from_slice(&body("info-segmentation")).unwrap();
        json["Extended"]["VoxelSize"] = size.clone();
        json["Extended"]["VoxelUnits"] = units;
        let info = InstanceInfo::parse("segmentation", json.to_string().into_bytes()).unwrap();
        let voxels = info.voxels.unwrap();
        assert_eq!((voxels.voxel_size.nm(), voxels.notes), (nm, vec![]), "{size}");
    }
}

#[test]
fn a_senseless_voxel_size_or_unit_is_served_with_a_note() {
    for size in ["[0,8,8]", "[8,-8,8]", "[8,8,1e308]", "[8,8,1e-300]", "null"] {
        let voxels = with_text("\"VoxelSize\":[10,10,10]", &format!("\"VoxelSize\":{size}")).voxels.unwrap();
        assert_eq!((voxels.voxel_size, voxels.notes.len()), (VoxelSize::UNIT, 1), "{size}");
    }
    let furlongs = with("/Extended/VoxelUnits", json!(["furlong", "furlong", 7])).voxels.unwrap();
    assert_eq!(furlongs.voxel_size.nm(), [10.0; 3]);
    assert_eq!(furlongs.notes, ["unknown VoxelUnits \"furlong\": taken as nanometers"]);
}

#[test]
fn values_of_another_type_than_the_typenames_leave_no_voxels() {
    for values in [
        json!([{"DataType": ">u8", "Label": "labelmap"}]),
        json!([{"DataType": "uint32", "Label": "labelmap"}]),
        json!([{"DataType": "uint64"}, {"DataType": "uint64"}]),
        json!([]),
        json!([{}]),
        json!("uint64"),
    ] {
        assert!(with("/Extended/Values", values.clone()).voxels.is_err(), "{values}");
    }
    assert!(with("/Extended/Values", Value::Null).voxels.is_ok());
}

#[test]
fn an_image_of_four_channels_has_four_values_and_no_jpeg() {
    let rgba = voxels("info-rgba");
    assert_eq!((rgba.dtype, rgba.channels, rgba.kind), (Dtype::Uint8, Some(4), InstanceKind::ImageBlk));
    assert_eq!((rgba.block_shape, rgba.extents), (Coordinate::splat(32), a_box([0; 3], [64; 3])));
    let json = String::from_utf8(body("info-rgba")).unwrap();
    let with = |old: &str, new: &str| {
        assert!(json.contains(old), "{old}");
        InstanceInfo::parse("rgba", json.replace(old, new).into_bytes()).unwrap().voxels.unwrap_err().to_string()
    };
    let three = with(",{\"DataType\":\"uint8\",\"Label\":\"alpha\"}", "");
    assert_eq!(three, "bad metadata: values [\"uint8\", \"uint8\", \"uint8\"] where 4 of uint8 belong");
    assert!(with("\"DataType\":\"uint8\",\"Label\":\"blue\"", "\"DataType\":\"uint16\"").starts_with("bad metadata"));
    assert!(with("LZ4 compression", "jpeg compression").contains("mangled"));
}

#[test]
fn odd_bases_are_information_only() {
    for (path, value) in [
        ("/Base/TypeName", json!("hologram")),
        ("/Base/TypeName", json!(7)),
        ("/Base/TypeName", Value::Null),
        ("/Base/DataUUID", Value::Null),
        ("/Base", Value::Null),
        ("/Base", json!([1])),
    ] {
        assert!(with(path, value.clone()).voxels.is_err(), "{path} {value}");
    }
    assert!(!with("/Base/Versioned", Value::Null).versioned, "unknown is the careful way: not for ever");
    let unknown = with("/Base/Compression", json!("zstd")).voxels;
    assert!(unknown.is_err(), "label blocks in an unknown form");
    assert!(InstanceInfo::parse("nothing", b"{}".to_vec()).unwrap().voxels.is_err());
}

#[test]
fn huge_labels_are_tolerated() {
    let huge = with_text("\"MaxRepoLabel\":1135720", "\"MaxRepoLabel\":18446744073709551615");
    assert!(huge.voxels.is_ok());
    assert!(with_text("\"MaxRepoLabel\":1135720", "\"MaxRepoLabel\":18446744073709551616").voxels.is_ok());
}

#[test]
fn bytes_that_are_no_json_object_are_refused() {
    let whole = body("info-segmentation");
    for end in (0..whole.len()).step_by(STEP) {
        assert!(InstanceInfo::parse("i", whole[..end].to_vec()).is_err(), "{end}");
    }
    let deep = format!("{{\"a\":{}", "[".repeat(1_000_000 / STEP));
    for json in
        [&b"null"[..], b"[]", b"7", b"{\"VoxelSize\":[NaN]}", b"{} trailing", b"{\"a\":\"\xff\"}", deep.as_bytes()]
    {
        let error = InstanceInfo::parse("i", json.to_vec()).unwrap_err();
        assert_eq!(error.code(), "bad_metadata");
    }
    assert!(InstanceInfo::parse("i", b"{\"a\":\"\\ud800\"}".to_vec()).is_ok_and(|info| info.voxels.is_err()));
}

proptest! {
    #[test]
    fn whatever_metadata_say_the_numbers_that_come_out_can_be_reckoned_with(
        source in 0_usize..5, edits in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::sample::select(&b"0123456789-+.eE\"[]{},:nul\\\x00\xff"[..])), 0..4),
    ) {
        let sources = ["info-segmentation", "info-neg", "info-aniso", "info-labelblk", "grid-info-em"];
        let mut json = body(sources[source]);
        for (at, byte) in edits {
            let at = at.index(json.len());
            json[at] = byte;
        }
        if let Ok(VoxelInfo { block_shape, extents, max_scale, voxel_size, .. }) =
            InstanceInfo::parse("i", json).map_or(Err(NoVoxels::Bad(String::new())), |info| info.voxels)
        {
            prop_assert!(Coordinate::ZERO.all_lt(block_shape) && block_shape.product() <= MAX_BLOCK_VOXELS);
            prop_assert!(extents.is_none_or(|data| !data.is_empty() && data.n_voxels() <= 1 << 96));
            prop_assert!(max_scale <= Scale::MAX && voxel_size.at_scale(max_scale).nm().iter().all(|nm| nm.is_finite()));
        }
    }
}
