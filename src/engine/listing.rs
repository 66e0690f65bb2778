//! Pages of a bucket: the shards' pages merged, pulled in bounded runs.

use std::collections::VecDeque;

use super::Engine;
use super::index::listing::{Row, ShardPage};
use super::message::{Answer, Request};
use super::types::{
    BucketId, EngineError, ListPage, ListQuery, ListedObject, Upload, UploadId, UploadPage, UploadQuery,
};
use crate::base::limits::WALK_STEP_ENTRIES;
use crate::io::Host;

/// One shard's rows that were pulled and not yet used.
struct Pull<T> {
    rows: VecDeque<Row<T>>,
    more: bool,
}

/// Order of a row among all shards.
type Rank = (Vec<u8>, UploadId);

impl<H: Host> Engine<H> {
    /// A page of a bucket in byte order of keys, merged over all cores.
    pub async fn list(&self, bucket: BucketId, query: ListQuery) -> Result<ListPage, EngineError> {
        let rank = |row: &Row<ListedObject>| match row {
            Row::Item(object) => (object.key.clone(), UploadId::default()),
            Row::CommonPrefix(prefix) => (prefix.clone(), UploadId::default()),
        };
        let request = |after: Option<&Rank>, count_max: usize| {
            let mut query = ListQuery { count_max, ..query.clone() };
            if let Some((key, _)) = after {
                query.after.clone_from(key);
            }
            Request::List { bucket, query }
        };
        let open = |answer| match answer {
            Answer::Page(page) => Ok(page),
            other => Err(super::unexpected(&other)),
        };
        let (rows, truncated) = self.merge(query.count_max, rank, request, open).await?;
        let mut page = ListPage { truncated, ..ListPage::default() };
        if let Some(last) = rows.last() {
            page.next = rank(last).0;
        }
        for row in rows {
            match row {
                Row::Item(object) => page.objects.push(object),
                Row::CommonPrefix(prefix) => page.common_prefixes.push(prefix),
            }
        }
        Ok(page)
    }

    /// A page of the uploads in progress of a bucket.
    pub async fn list_uploads(
        &self,
        bucket: BucketId,
        query: UploadQuery,
    ) -> Result<UploadPage, EngineError> {
        let rank = |row: &Row<Upload>| match row {
            Row::Item(upload) => (upload.key.clone(), upload.id),
            Row::CommonPrefix(prefix) => (prefix.clone(), UploadId::default()),
        };
        let request = |after: Option<&Rank>, count_max: usize| {
            let mut query = UploadQuery { count_max, ..query.clone() };
            if let Some((key, id)) = after {
                query.key_after.clone_from(key);
                query.upload_after = (*id != UploadId::default()).then_some(*id);
            }
            Request::UploadList { bucket, query }
        };
        let open = |answer| match answer {
            Answer::UploadPage(page) => Ok(page),
            other => Err(super::unexpected(&other)),
        };
        let (rows, truncated) = self.merge(query.count_max, rank, request, open).await?;
        let mut page = UploadPage { truncated, ..UploadPage::default() };
        match rows.last() {
            Some(Row::Item(upload)) => {
                page.next_key.clone_from(&upload.key);
                page.next_upload = Some(upload.id);
            }
            Some(Row::CommonPrefix(prefix)) => page.next_key.clone_from(prefix),
            None => {}
        }
        for row in rows {
            match row {
                Row::Item(upload) => page.uploads.push(upload),
                Row::CommonPrefix(prefix) => page.common_prefixes.push(prefix),
            }
        }
        Ok(page)
    }

    /// The first `count_max` rows over all shards, common prefixes once, and whether more follow.
    async fn merge<T>(
        &self,
        count_max: usize,
        rank: impl Fn(&Row<T>) -> Rank,
        request: impl Fn(Option<&Rank>, usize) -> Request,
        open: impl Fn(Answer) -> Result<ShardPage<T>, EngineError>,
    ) -> Result<(Vec<Row<T>>, bool), EngineError> {
        // Keys are spread evenly: each shard is asked for its share and some more, and again if that was
        // too little.
        let cores = self.cores();
        let share =
            (count_max / cores + count_max / cores / 4 + 16).min(count_max + 1).min(WALK_STEP_ENTRIES * 4);
        let share = if cores == 1 { count_max + 1 } else { share };
        let mut pulls: Vec<Pull<T>> = Vec::with_capacity(cores);
        for answer in self.ask_all(|| request(None, share)).await {
            let page = open(answer?)?;
            pulls.push(Pull { rows: page.rows.into(), more: page.more });
        }
        let mut merged: Vec<Row<T>> = Vec::new();
        loop {
            for (core, pull) in pulls.iter_mut().enumerate() {
                if pull.rows.is_empty() && pull.more {
                    let last = merged.last().map(&rank);
                    let page = open(self.ask(core, request(last.as_ref(), share)).await?)?;
                    *pull = Pull { rows: page.rows.into(), more: page.more };
                }
            }
            let least = pulls.iter().filter_map(|pull| pull.rows.front().map(&rank)).min();
            let Some(least) = least else { return Ok((merged, false)) };
            if merged.len() == count_max {
                return Ok((merged, true));
            }
            let mut taken = None;
            for pull in &mut pulls {
                if pull.rows.front().is_some_and(|row| rank(row) == least) {
                    taken = pull.rows.pop_front();
                }
            }
            merged.extend(taken);
        }
    }
}
