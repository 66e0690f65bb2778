//! Pages of a bucket: the shards' pages merged, pulled in bounded runs.

use std::collections::VecDeque;

use super::Engine;
use super::index::listing::{Row, ShardPage};
use super::message::{Answer, Request};
use super::types::{
    BucketId, EngineError, ListPage, ListQuery, ListedObject, Upload, UploadId, UploadPage, UploadQuery,
};
use super::version::{ListedVersion, VersionId, VersionPage, VersionQuery};
use crate::base::limits::{LIST_KEYS_MAX, WALK_STEP_ENTRIES};
use crate::io::Host;

/// One shard's rows that were pulled and not yet used.
struct Pull<T> {
    rows: VecDeque<Row<T>>,
    more: bool,
}

/// A row's place among the rows of all shards.
trait Ranked {
    fn rank(&self) -> Rank<'_>;
}

/// Key or common prefix, and what tells rows of one key apart: an upload's id, or a version's place; all
/// zeros for neither.
type Rank<'a> = (&'a [u8], [u8; 16]);

impl Ranked for Row<ListedObject> {
    fn rank(&self) -> Rank<'_> {
        match self {
            Self::Item(object) => (&object.key, UploadId::default()),
            Self::CommonPrefix(prefix) => (prefix, UploadId::default()),
        }
    }
}

impl Ranked for Row<ListedVersion> {
    fn rank(&self) -> Rank<'_> {
        match self {
            Self::Item(listed) => (&listed.key, rank_of_sequence(listed.sequence)),
            Self::CommonPrefix(prefix) => (prefix, [0; 16]),
        }
    }
}

/// Ranks the newest version first, and every version after a common prefix.
fn rank_of_sequence(sequence: u64) -> [u8; 16] {
    (u128::from(!sequence) << 64 | 1).to_be_bytes()
}

/// The sequence of a version with this rank; none for a common prefix.
fn sequence_of_rank(rank: [u8; 16]) -> Option<u64> {
    (rank != [0; 16]).then(|| !((u128::from_be_bytes(rank) >> 64) as u64))
}

impl Ranked for Row<Upload> {
    fn rank(&self) -> Rank<'_> {
        match self {
            Self::Item(upload) => (&upload.key, upload.id),
            Self::CommonPrefix(prefix) => (prefix, UploadId::default()),
        }
    }
}

impl<H: Host> Engine<H> {
    /// A page of a bucket in byte order of keys, merged over all cores.
    pub async fn list(&self, bucket: BucketId, query: ListQuery) -> Result<ListPage, EngineError> {
        let request = |after: Option<Rank<'_>>, count_max: usize| {
            let mut query = ListQuery { count_max, ..query.clone() };
            if let Some((key, _)) = after {
                query.after = key.to_vec();
            }
            Request::List { bucket, query }
        };
        let open = |answer| match answer {
            Answer::Page(page) => Ok(page),
            other => Err(super::unexpected(&other)),
        };
        let (rows, truncated) = self.merge(query.count_max, request, open).await?;
        let mut page = ListPage { truncated, ..ListPage::default() };
        if let Some(last) = rows.last() {
            page.next = last.rank().0.to_vec();
        }
        for row in rows {
            match row {
                Row::Item(object) => page.objects.push(object),
                Row::CommonPrefix(prefix) => page.common_prefixes.push(prefix),
            }
        }
        Ok(page)
    }

    /// A page of the versions and delete markers of a bucket.
    pub async fn list_versions(
        &self,
        bucket: BucketId,
        query: VersionQuery,
    ) -> Result<VersionPage, EngineError> {
        let request = |after: Option<Rank<'_>>, count_max: usize| {
            let mut query = VersionQuery { count_max, ..query.clone() };
            if let Some((key, rank)) = after {
                query.key_after = key.to_vec();
                // A place that need not be one of a numbered version.
                query.version_after = sequence_of_rank(rank).map(VersionId::Numbered);
            }
            Request::ListVersions { bucket, query }
        };
        let open = |answer| match answer {
            Answer::VersionPage(page) => Ok(page),
            other => Err(super::unexpected(&other)),
        };
        let (rows, truncated) = self.merge(query.count_max, request, open).await?;
        let mut page = VersionPage { truncated, ..VersionPage::default() };
        match rows.last() {
            Some(Row::Item(listed)) => {
                page.next_key.clone_from(&listed.key);
                page.next_version = Some(listed.version);
            }
            Some(Row::CommonPrefix(prefix)) => page.next_key.clone_from(prefix),
            None => {}
        }
        for row in rows {
            match row {
                Row::Item(listed) => page.versions.push(listed),
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
        let request = |after: Option<Rank<'_>>, count_max: usize| {
            let mut query = UploadQuery { count_max, ..query.clone() };
            if let Some((key, id)) = after {
                query.key_after = key.to_vec();
                query.upload_after = (id != UploadId::default()).then_some(id);
            }
            Request::UploadList { bucket, query }
        };
        let open = |answer| match answer {
            Answer::UploadPage(page) => Ok(page),
            other => Err(super::unexpected(&other)),
        };
        let (rows, truncated) = self.merge(query.count_max, request, open).await?;
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
        request: impl Fn(Option<Rank<'_>>, usize) -> Request,
        open: impl Fn(Answer) -> Result<ShardPage<T>, EngineError>,
    ) -> Result<(Vec<Row<T>>, bool), EngineError>
    where
        Row<T>: Ranked,
    {
        // Keys are spread evenly: each shard is asked for its share and some more, and again if that was
        // too little.
        let cores = self.cores();
        let share = (count_max / cores + count_max / cores / 4 + 16).min(count_max + 1);
        let share = if cores == 1 { count_max + 1 } else { share.min(WALK_STEP_ENTRIES * 4) };
        let mut pulls: Vec<Pull<T>> = Vec::with_capacity(cores);
        for answer in self.ask_all(|| request(None, share)).await {
            let page = open(answer?)?;
            pulls.push(Pull { rows: page.rows.into(), more: page.more });
        }
        if let [pull] = &mut pulls[..] {
            let more = pull.more || pull.rows.len() > count_max;
            pull.rows.truncate(count_max);
            return Ok((std::mem::take(&mut pull.rows).into(), more));
        }
        let mut order = Order::of(&pulls);
        let mut merged: Vec<Row<T>> = Vec::with_capacity(count_max.min(LIST_KEYS_MAX));
        while let Some(core) = order.least() {
            let next = &pulls[core].rows[0];
            // Several shards may have the same common prefix.
            let is_again = matches!(next, Row::CommonPrefix(_))
                && merged.last().is_some_and(|last| last.rank() == next.rank());
            if !is_again && merged.len() == count_max {
                return Ok((merged, true));
            }
            let next = pulls[core].rows.pop_front().expect("it was looked at above");
            if !is_again {
                merged.push(next);
            }
            if pulls[core].rows.is_empty() && pulls[core].more {
                let last = merged.last().map(Ranked::rank);
                let page = open(self.ask(core, request(last, share)).await?)?;
                pulls[core] = Pull { rows: page.rows.into(), more: page.more };
            }
            order.settle(&pulls);
        }
        Ok((merged, false))
    }
}

/// The cores that have rows, as a binary heap by their first: a row costs as many comparisons as the number of
/// cores has bits, not as there are cores.
struct Order(Vec<usize>);

impl Order {
    fn of<T>(pulls: &[Pull<T>]) -> Self
    where
        Row<T>: Ranked,
    {
        let mut order = Self((0..pulls.len()).filter(|core| !pulls[*core].rows.is_empty()).collect());
        for place in (0..order.0.len() / 2).rev() {
            order.sink(place, pulls);
        }
        order
    }

    /// The core whose first row is the least.
    fn least(&self) -> Option<usize> {
        self.0.first().copied()
    }

    /// Finds the least again after the rows of the one before have changed.
    fn settle<T>(&mut self, pulls: &[Pull<T>])
    where
        Row<T>: Ranked,
    {
        if self.least().is_some_and(|core| pulls[core].rows.is_empty()) {
            self.0.swap_remove(0);
        }
        self.sink(0, pulls);
    }

    fn sink<T>(&mut self, mut place: usize, pulls: &[Pull<T>])
    where
        Row<T>: Ranked,
    {
        let rank = |core: &usize| pulls[*core].rows[0].rank();
        loop {
            let below = [2 * place + 1, 2 * place + 2];
            let below = below.into_iter().filter(|place| *place < self.0.len());
            let Some(least) = below.min_by(|one, other| rank(&self.0[*one]).cmp(&rank(&self.0[*other])))
            else {
                return;
            };
            if rank(&self.0[place]) <= rank(&self.0[least]) {
                return;
            }
            self.0.swap(place, least);
            place = least;
        }
    }
}
