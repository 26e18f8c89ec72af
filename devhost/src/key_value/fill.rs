//! Many records in a store, so that it can be seen what a full one costs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use rusqlite::{Connection, params};

use super::{SCHEMA, file};
use crate::runtime_config::StoreConfig;

/// Puts `count` records into each store that is a file and does not exist yet. Their keys sort
/// around those of applications.
///
/// # Errors
///
/// A file cannot be written.
pub fn fill(stores: &BTreeMap<String, StoreConfig>, folder: &Path, count: u32) -> Result<()> {
    for (label, store) in stores {
        let StoreConfig::Sqlite { path } = store else {
            continue;
        };
        let path = folder.join(path);
        if count == 0 || path.exists() {
            continue;
        }
        let connection: Connection = file(&path)?;
        // Nobody else has it, and half of it is of no use to anybody.
        connection.pragma_update(None, "journal_mode", "OFF")?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.execute_batch(SCHEMA)?;
        connection.execute(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?2)
             INSERT INTO spin_key_value (store, key, value)
             SELECT ?1, printf('%s%012d', iif(n % 2, 'a', 'z'), n), zeroblob(?3) FROM numbers",
            params![label, count, RECORD_BYTES],
        )?;
    }
    Ok(())
}

/// About what a session takes.
const RECORD_BYTES: u32 = 1_500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_value::{Kind, Stores};

    #[test]
    fn a_new_file_is_filled_once_and_an_old_one_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let stores = BTreeMap::from([("default".to_owned(), StoreConfig::default())]);
        let records = || {
            let labels = stores.keys().cloned().collect();
            let open = Stores::open(&labels, &stores, folder.path(), Kind::File).unwrap();
            let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
            runtime.block_on(async { open.0["default"].keys().unwrap().len() })
        };
        fill(&stores, folder.path(), 0).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        fill(&stores, folder.path(), 7).unwrap();
        assert_eq!(records(), 7);
        fill(&stores, folder.path(), 7).unwrap();
        assert_eq!(records(), 7);
    }
}
