//! Reading DVID's JSON: typed, bounded, and patient with null.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::payload_error::PayloadError;

/// Arrays and objects inside each other beyond which the text is no metadata.
const MAX_DEPTH: usize = 128;

fn bad(why: impl fmt::Display) -> PayloadError {
    PayloadError::BadMetadata(why.to_string())
}

/// Whether these bytes are one JSON object, nested within reason, whatever it holds.
pub(super) fn check_json(json: &[u8]) -> Result<(), PayloadError> {
    let text = std::str::from_utf8(json).map_err(bad)?;
    check_depth(json)?;
    if !text.trim_start().starts_with('{') {
        return Err(bad("no JSON object"));
    }
    parse_json::<IgnoredAny>(json).map(|_| ())
}

/// What the JSON text holds, as this type.
pub(super) fn parse_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, PayloadError> {
    serde_json::from_slice(json).map_err(bad)
}

/// The parser skips what it does not know without counting its depth.
fn check_depth(json: &[u8]) -> Result<(), PayloadError> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for &byte in json {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'[' | b'{') => depth += 1,
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(bad("nested too deep"));
        }
    }
    Ok(())
}

/// For `deserialize_with`: null is the default, as Go's encoder writes an empty list.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A text, or `None` where null or something else stands in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text(pub(super) Option<String>);

/// Three whole numbers in DVID's order xyz, or `None` where something else stands in their place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ThreeNumbers(pub(super) Option<[i64; 3]>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Tolerated { text, .. } = deserializer.deserialize_any(ToleratedVisitor)?;
        Ok(Self(text))
    }
}

impl<'de> Deserialize<'de> for ThreeNumbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Tolerated { numbers, .. } = deserializer.deserialize_any(ToleratedVisitor)?;
        Ok(Self(numbers))
    }
}

/// Any JSON value: what of it we can use. No value is kept that is not.
#[derive(Default)]
struct Tolerated {
    text: Option<String>,
    number: Option<i64>,
    numbers: Option<[i64; 3]>,
}

impl<'de> Deserialize<'de> for Tolerated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ToleratedVisitor)
    }
}

struct ToleratedVisitor;

impl<'de> Visitor<'de> for ToleratedVisitor {
    type Value = Tolerated;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Tolerated, E> {
        Ok(Tolerated { text: Some(text.to_owned()), ..Tolerated::default() })
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tolerated, E> {
        Ok(Tolerated { number: Some(number), ..Tolerated::default() })
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tolerated, E> {
        Ok(Tolerated { number: i64::try_from(number).ok(), ..Tolerated::default() })
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tolerated, E> {
        Ok(Tolerated::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tolerated, E> {
        Ok(Tolerated::default())
    }

    fn visit_unit<E>(self) -> Result<Tolerated, E> {
        Ok(Tolerated::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tolerated, A::Error> {
        let (mut numbers, mut n_items) = ([None; 3], 0);
        while n_items < 3 {
            let Some(item) = items.next_element::<Tolerated>()? else { break };
            numbers[n_items] = item.number;
            n_items += 1;
        }
        let more = items.next_element::<IgnoredAny>()?.is_some();
        while items.next_element::<IgnoredAny>()?.is_some() {}
        let numbers = match numbers {
            [Some(x), Some(y), Some(z)] if !more => Some([x, y, z]),
            _ => None,
        };
        Ok(Tolerated { numbers, ..Tolerated::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tolerated, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Tolerated::default())
    }
}

/// What an object holds, or nothing where null or something else stands in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(entries)).map(Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Object<T>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Object::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Object<T>, E> {
        Ok(Object::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Object<T>, E> {
        Ok(Object::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Object<T>, E> {
        Ok(Object::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Object<T>, E> {
        Ok(Object::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Object<T>, E> {
        Ok(Object::default())
    }

    fn visit_unit<E>(self) -> Result<Object<T>, E> {
        Ok(Object::default())
    }
}
