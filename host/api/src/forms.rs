//! Deserializers for members for which serde's default accepts too much or too little.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Parses a list of records, each a JSON object. Serde alone would also accept a list of a record's
/// values without their names.
pub(crate) fn objects<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let Some(list) = Option::<Vec<Map<String, Value>>>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let record = |object| serde_json::from_value(Value::Object(object));
    let records: Result<_, _> = list.into_iter().map(record).collect();
    records.map(Some).map_err(D::Error::custom)
}

/// Parses a member of a response whose form may change in later versions; `None` if this version
/// cannot parse it.
pub(crate) fn if_known<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}
