//! Every limit of the node: what it bounds, why this value, what gets worse either way.
//!
//! S3's own limits name AWS's page; ours name the measurement or the reason.

/// Alignment of buffers, file offsets and lengths under O_DIRECT. 4 KiB suits every drive sold today
/// (512-byte and 4 KiB sectors); smaller would fail on 4Kn drives.
pub const BLOCK_BYTES: usize = 4096;

/// Payload up to this length travels inside its log record (docs/decisions/0003-inline-limit.md).
/// Larger: one durable write, but more bytes to copy when the log is cleaned. Smaller: a second write and
/// a sync for each object.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Capacity of a large pool buffer: the unit of receiving, hashing and writing of large payloads.
/// Larger buffers cost arena memory per upload, smaller ones more system calls per gigabyte.
pub const BUFFER_BYTES: usize = 256 * 1024;

/// Capacity of a small pool buffer, for small ranged reads and log records.
pub const SMALL_BUFFER_BYTES: usize = 16 * 1024;

/// Payload bytes covered by one CRC32C in an extent. A ranged read verifies whole chunks, so a larger
/// value makes small ranges read more; a smaller one makes checksum blocks larger.
pub const CHECKSUM_CHUNK_BYTES: usize = 64 * 1024;

/// Payload bytes of one extent. Its checksums fit one block, so that a ranged read needs at most one
/// more block than its data.
pub const EXTENT_BYTES_MAX: u64 = 56 * 1024 * 1024;

/// AWS, "Creating object key names": at most 1,024 bytes of UTF-8.
pub const KEY_BYTES_MAX: usize = 1024;

/// AWS, "Working with object metadata": user metadata in a PUT is limited to 2 KiB, counted over names
/// without prefix and values.
pub const USER_METADATA_BYTES_MAX: usize = 2 * 1024;

/// AWS, "Multipart upload limits": part numbers are 1 to 10,000.
pub const PARTS_MAX: u16 = 10_000;

/// AWS, "Multipart upload limits": every part but the last is at least 5 MiB.
pub const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;

/// AWS, "Multipart upload limits": a part, a single PUT and a copied range hold at most 5 GiB.
pub const PART_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;

/// AWS, "Amazon S3 objects overview": 50 TB since December 2025; 48.8 TiB is 10,000 parts of 5 GiB.
pub const OBJECT_BYTES_MAX: u64 = PARTS_MAX as u64 * PART_BYTES_MAX;

/// AWS: ListObjects, ListParts, ListMultipartUploads and DeleteObjects handle at most 1,000 entries.
pub const LIST_KEYS_MAX: usize = 1000;

/// Bytes of a request head. AWS refuses heads beyond 8 KiB of headers; signed requests with 2 KiB of
/// metadata, a session token and a presigned query fit in 32 KiB. It bounds memory per connection.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Headers of a request. More than any SDK sends with the full 2 KiB of metadata in tiny entries would
/// need at most a few hundred; a flood is refused.
pub const HEADERS_MAX: usize = 256;

/// Bytes a connection's receive buffer starts with. Usual heads are below 2 KiB, so that a small payload
/// sent with its head arrives in the same system call. It grows to [`HEAD_BYTES_MAX`] for large heads.
pub const RECEIVE_BUFFER_BYTES: usize = 8 * 1024;

/// How often a core looks for connections that are out of patience: the precision of the time limits below.
/// One pass per core replaces a timer for each receive and send.
pub const CONNECTION_TICK_MS: u64 = 1_000;

/// A request head must be complete within this time of its first byte.
pub const HEAD_TIMEOUT_MS: u64 = 30_000;

/// A TLS handshake must be complete within this time of the connection: it takes two round trips and the work of
/// both sides. Until then the connection counts like any other.
pub const TLS_HANDSHAKE_TIMEOUT_MS: u64 = 10_000;

/// Bytes that a client may send before the handshake is complete. A usual ClientHello has below 2 KiB, also with
/// post-quantum keys, and what follows is less; clients bring no certificates.
pub const TLS_HANDSHAKE_BYTES_MAX: usize = 32 * 1024;

/// Payload that is sealed for one write to the socket: four full records. More would leave the second-level cache
/// before it is sent; less costs more system calls.
pub const TLS_SEALED_BYTES: usize = 64 * 1024;

/// A buffer for records: those of [`TLS_SEALED_BYTES`] with what surrounds them, or as many received ones. The
/// longest record has 18,437 bytes (RFC 5246, section 6.2.3), which must fit to be opened. A connection has one
/// while it sends, and one while it receives a body.
pub const TLS_RECORDS_BYTES: usize = 65 * 1024;

/// Buffers for records that a core keeps for the next connections.
pub const TLS_RECORDS_SPARE_MAX: usize = 32;

/// Bytes of a file with certificates or a key. A chain has some kilobytes.
pub const TLS_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of a file with the authorities that a command trusts. What systems trust has some hundred kilobytes.
pub const CA_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Certificates of a node; each of their names is looked up in one table. Sites with more put a wildcard in theirs.
pub const TLS_CERTIFICATES_MAX: usize = 1024;

/// A certificate that ends within this time is warned of when it is loaded: those of Let's Encrypt are renewed
/// thirty days before.
pub const TLS_EXPIRY_WARNING_DAYS: i64 = 14;

/// A connection without a request closes after this time. Clients' pools keep theirs for up to a minute;
/// closing first makes them retry.
pub const IDLE_TIMEOUT_MS: u64 = 75_000;

/// While a body is awaited, [`PROGRESS_BYTES_MIN`] must arrive in this time. Time in which the server itself
/// does not read doesn't count.
pub const BODY_TIMEOUT_MS: u64 = 30_000;

/// While a response is sent, [`PROGRESS_BYTES_MIN`] must be taken in this time.
pub const SEND_TIMEOUT_MS: u64 = 30_000;

/// Progress that renews a client's time in bodies and responses: 16 KiB in 30 s, below any line that people
/// still use; a client that trickles single bytes can't hold a connection for long.
pub const PROGRESS_BYTES_MIN: u64 = 16 * 1024;

/// While requests of a core wait for I/O buffers, clients that are slower than this in each of
/// [`CROWDED_SECONDS`] seconds on end are cut, the slowest first, as many as wait: buffers that they hold are
/// what the others lack. A client at 64 KiB/s turns a large buffer round in four seconds.
pub const CROWDED_BYTES_PER_SECOND_MIN: u64 = 64 * 1024;
pub const CROWDED_SECONDS: u64 = 3;

/// How long a new request waits for its first I/O buffer before it is told to slow down. SDKs try again, and
/// give up themselves after a minute.
pub const BUFFER_WAIT_MS_MAX: u64 = 15_000;

/// Payload that a core copies to and from sockets in one pass, before all else that is due has its turn: 100 to 150 µs
/// of copying. Transfers of [`BULK_BYTES_MIN`] and more count.
pub const BULK_PASS_BYTES_MAX: usize = 512 * 1024;
pub const BULK_BYTES_MIN: usize = 32 * 1024;

/// A connection without a request gives its receive buffer back after this time, and waits with
/// [`RESTING_BUFFER_BYTES`]. Sooner would cost clients that pause between requests two system calls more.
pub const REST_AFTER_MS: u64 = 5_000;

/// What a resting connection receives first.
pub const RESTING_BUFFER_BYTES: usize = 64;

/// Unread rest of a request body that is received and dropped to keep the connection; a longer one costs
/// more than a new connection.
pub const DRAIN_BYTES_MAX: u64 = 64 * 1024;

/// After a response that ends a connection in the midst of a body, the client may go on sending for this
/// time and this many bytes, which are dropped. Closing at once would reset the connection and take the
/// response from clients that read only after they have sent all; 64 MiB covers their usual part sizes.
pub const LINGER_TIMEOUT_MS: u64 = 10_000;
pub const LINGER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Response payload that is copied behind its head to leave in one write; more goes from its own buffer in
/// the next write. Copying 16 KiB costs less than a system call.
pub const RESPONSE_COPY_BYTES_MAX: usize = 16 * 1024;

/// Response buffers a core keeps for the next responses. More responses than this in the same moment
/// allocate theirs.
pub const RESPONSE_BUFFERS_SPARE_MAX: usize = 64;

/// When a drain's time is over, connections are cut and get this long to notice.
pub const CUT_TIMEOUT_MS: u64 = 1_000;

/// Parameters of a query. No S3 request has more than a few dozen (presigned ones with response overrides);
/// a flood is refused before it is decoded.
pub const QUERY_PARAMETERS_MAX: usize = 256;

/// Ranges of one `Range` header that are served; a header with more is ignored, which RFC 9110 allows.
/// Each range costs a part head, so many tiny ones would multiply the answer.
pub const RANGES_MAX: usize = 64;

/// Bytes of the line before a chunk, in chunked and aws-chunked bodies. Sixteen digits, `;chunk-signature=`
/// and 64 digits need 97; nothing sends long extensions.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;

/// Bytes received together when a chunked body's next chunk is short or its length not yet known: what may
/// have to be moved down over framing. AWS's shortest chunk is 8 KiB; a copy of that costs less than a
/// system call.
pub const CHUNK_OVERREAD_BYTES: usize = 8 * 1024;

/// Received behind the last chunk of an aws-chunked body, beside the payload: its empty chunk's line, a checksum and a
/// signature take up to 350. More is received as it comes.
pub const CHUNKS_END_BYTES: usize = 512;

/// Bytes of all trailer lines of a chunked or aws-chunked body. A checksum and a signature need 200.
pub const TRAILER_BYTES_MAX: usize = 4 * 1024;

/// Trailers of an aws-chunked body. Clients send one checksum.
pub const TRAILERS_MAX: usize = 16;

/// Bytes of an XML request body that is buffered (CompleteMultipartUpload with 10,000 parts and
/// checksums, DeleteObjects with 1,000 keys of 1,024 bytes escaped).
pub const XML_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Nesting of elements in an XML request body. S3's deepest document (a replication rule) nests eight deep;
/// it bounds the reader's stack of open elements.
pub const XML_DEPTH_MAX: usize = 16;

/// Elements of an XML request body. CompleteMultipartUpload with 10,000 parts of four elements and
/// DeleteObjects with 1,000 keys of five stay below half of it; it bounds the memory of what was read.
pub const XML_ELEMENTS_MAX: usize = 100_000;

/// Attributes of an element: clients declare a few namespaces and a type. With more, a document of
/// [`XML_BODY_BYTES_MAX`] could be one element that takes long to check.
pub const XML_ATTRIBUTES_MAX: usize = 16;

/// AWS, "Bucket policies": at most 20 KB of JSON. It bounds what evaluating a policy costs each request.
pub const BUCKET_POLICY_BYTES_MAX: usize = 20 * 1024;

/// AWS, "IAM and AWS STS quotas": 6,144 characters for a managed policy without white space, 10,240 for all
/// inline policies of a role; one bound for both, white space included.
pub const IDENTITY_POLICY_BYTES_MAX: usize = 10 * 1024;

/// AWS, "Access control list (ACL) overview": an ACL has at most 100 grants.
pub const ACL_GRANTS_MAX: usize = 100;
/// AWS, "POST Object": all fields and boundaries of a form before its file hold at most 20 KB.
pub const FORM_BYTES_MAX: usize = 20 * 1024;

/// Fields of a form before its file. S3 knows some thirty beside user metadata; more is a flood.
pub const FORM_FIELDS_MAX: usize = 256;

/// RFC 2046, section 5.1.1: a boundary has at most 70 characters.
pub const FORM_BOUNDARY_BYTES_MAX: usize = 70;

/// What of a form is received at once. Its fields must fit; the file's bytes are copied out of it into the
/// buffers they are written from.
pub const FORM_BUFFER_BYTES: usize = 32 * 1024;

/// AWS, RenameObject: a client token has at most 64 characters.
pub const CLIENT_TOKEN_BYTES_MAX: usize = 64;

/// Payload bytes of one stream, or of two or three together, that are hashed before other requests of the core get
/// a turn: about 100 µs. Larger pieces delay small requests, smaller ones cost switches.
pub const HASH_SLICE_BYTES: usize = 64 * 1024;

/// Streams of which both MD5 and SHA-256 are computed together: as many as the widest lanes hold. One more would
/// cost as much as sixteen more. The same on every processor, so that a seed of the simulation replays on each.
pub const HASH_LANES: usize = 16;

/// Streams that are hashed together if MD5 is all that is computed of them: twice the widest lanes take turns there.
pub const HASH_STREAMS_TOGETHER_MAX: usize = 2 * HASH_LANES;

/// Payload bytes that are hashed in lanes before other requests of the core get a turn, where all lanes are taken:
/// about 100 µs (several times that on processors without vectors). More would leave the second-level cache between
/// two digests, too.
pub const HASH_TURN_BYTES: usize = 512 * 1024;

/// Payload up to this length is hashed at once, whoever else hashes: it takes about a microsecond, as bringing it
/// together with others would.
pub const HASH_ALONE_BYTES_MAX: usize = 1024;

/// AWS, "Authenticating requests (SigV4)": a request's clock may differ by 15 minutes.
pub const CLOCK_SKEW_MS_MAX: u64 = 15 * 60 * 1000;

/// AWS, "Using query parameters": a presigned URL lives at most seven days.
pub const PRESIGNED_SECONDS_MAX: u64 = 7 * 24 * 60 * 60;

/// Access key ids whose derived signing keys a core keeps. Each takes about half a kilobyte a day; with
/// fewer, sites with many users derive keys (about a microsecond) again and again.
pub const SIGNING_KEYS_MAX: usize = 256;

/// Days for which a core keeps an access key id's signing keys: the seven that presigned URLs may lie back,
/// today, and the next one around midnight.
pub const SIGNING_DATES_MAX: usize = 9;

/// Bytes that the scrub reads in a second of each drive, unless it is told otherwise: 20 TB in 29 days, and a
/// small share of what a hard disk reads.
pub const SCRUB_BYTES_PER_SECOND: u64 = 8 * 1024 * 1024;

/// Pause before each pass of the scrub: a store that is read within minutes need not be read all day. More delays
/// what a pass finds, by less than most passes take.
pub const SCRUB_PASS_SECONDS_MIN: u64 = 4 * 60 * 60;

/// Damaged places of extents for which the index is walked once to name their objects.
pub const SCRUB_FLAWS_TOGETHER_MAX: usize = 256;

/// How long a read may keep freed space from being reused by its epoch alone; then it takes references to the
/// extents it reads. Less costs more reads a message to each owner; more delays the freeing of all that is deleted.
pub const READ_EPOCH_MS_MAX: u64 = 2_000;

/// Damaged places that a core lists; more are counted. A drive that fails as a whole shows itself in the first.
pub const DAMAGES_PER_CORE_MAX: usize = 1000;

/// Versions that are named for a damaged place: copies share payload, and a block of the log holds many records.
pub const DAMAGED_OBJECTS_MAX: usize = 16;

/// Unreadable blocks of a log segment that are passed over one by one. More of them are no bad sectors but a
/// drive that fails, and each costs the time in which the drive tries.
pub const UNREADABLE_BLOCKS_MAX: usize = 64;

/// Bytes of a checkpoint that are read at once. A chunk that does not end within is read again with the next
/// ones, so a smaller value reads more twice; a larger one takes memory of each core while it starts.
pub const CHECKPOINT_WINDOW_BYTES: usize = 2 * 1024 * 1024;

/// Bytes of the entries of a checkpoint's chunk: one is closed after 256 KiB, and the longest entry, an upload
/// of 10,000 parts of 5 GiB, takes some 20 MiB. It bounds what a damaged length can make a start allocate.
pub const CHECKPOINT_CHUNK_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of one log record without inline payload: bounds parsing of the log. An object of 10,000 parts
/// needs about 1 MiB.
pub const RECORD_META_BYTES_MAX: usize = 24 * 1024 * 1024;

/// Bytes of a bucket's settings, names and values together. They are one record, which must fit the log
/// segments of small drives, and every core holds them. A policy has at most 20 KB, CORS 64 KB; a lifecycle
/// configuration of 1,000 rules with long filters takes most of it.
pub const BUCKET_SETTINGS_BYTES_MAX: usize = 1024 * 1024;

/// Entries of the node's configuration (users, keys, policies). Every core holds the names; tens of thousands
/// of users fit, and a change copies the list of names on each core, some milliseconds at this number.
pub const CONFIG_ENTRIES_MAX: usize = 64 * 1024;

/// Bytes of an entry's name: a kind and an AWS name of at most 128 characters, or an ARN.
pub const CONFIG_NAME_BYTES_MAX: usize = 512;

/// Bytes of an entry's value. AWS's managed policies have at most 6,144 characters; a group that lists
/// thousands of members needs more.
pub const CONFIG_VALUE_BYTES_MAX: usize = 256 * 1024;

/// Bytes of all entries together. All cores share the memory of the values; recovery reads them all.
pub const CONFIG_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of one change of the configuration. It is one batch of the log, which must fit the log segments of
/// small drives.
pub const CONFIG_CHANGE_BYTES_MAX: usize = 1024 * 1024;

/// AWS KMS, quotas of aliases: names have at most 256 characters, `alias/` among them.
pub const KMS_KEY_NAME_BYTES_MAX: usize = 250;

/// Versions of a named key. A rotation every week lasts for nine years; it bounds what is read for each
/// encrypted object.
pub const KMS_KEY_VERSIONS_MAX: usize = 500;

/// Events that a core keeps until they are delivered. A target that is down for an hour at some tens of
/// changes a second; each takes about a hundred bytes of memory, and its record in the log. Their records
/// together may take one log segment. Beyond either, events are dropped and counted; changes go on.
pub const EVENTS_PER_CORE_MAX: usize = 100_000;

/// Bytes of an event's body. S3's JSON with a key of 1,024 bytes, escaped twice, needs less than 8 KiB.
pub const EVENT_BODY_BYTES_MAX: usize = 16 * 1024;

/// Events of one change: rules of a bucket that match it at the same time. With their bodies they must fit
/// the log segments of small drives beside the longest record.
pub const EVENTS_PER_CHANGE_MAX: usize = 16;

/// Events that are taken off the queue in one batch of the log.
pub const EVENTS_DONE_TOGETHER_MAX: usize = 1000;

/// Core threads. Queues between cores grow with its square; larger machines run several nodes.
pub const CORES_MAX: usize = 256;

/// Data directories of a node. More drives than any chassis holds; bounds superblocks and open files.
pub const DATA_DIRECTORIES_MAX: usize = 128;

/// I/O buffers of a core. Below, a few large transfers would take them all and small requests would wait.
pub const ARENA_BYTES_MIN: u64 = 8 * 1024 * 1024;

/// I/O buffers of a core. More is a typing error: 4,096 large buffers keep any drive busy.
pub const ARENA_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Bytes of a configuration file: it is read whole. All settings together need less than 4 KiB.
pub const CONFIG_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Accounts of a node. Each core knows all identities; a thousand tenants are more than one machine serves.
pub const ACCOUNTS_MAX: usize = 1_000;

/// Users of a node, over all accounts (AWS, "IAM and AWS STS quotas": 5,000 in an account). Each takes a few
/// kilobytes on every core, and a change of one walks over all of them: some milliseconds for so many.
pub const USERS_MAX: usize = 10_000;

/// AWS, "IAM and AWS STS quotas": 300 groups in an account.
pub const GROUPS_PER_ACCOUNT_MAX: usize = 300;

/// AWS, "IAM and AWS STS quotas": 1,500 customer managed policies in an account.
pub const POLICIES_PER_ACCOUNT_MAX: usize = 1_500;

/// AWS, "IAM and AWS STS quotas": a user is in at most 10 groups. All of their policies are judged for each
/// request.
pub const GROUPS_PER_USER_MAX: usize = 10;

/// AWS, "IAM and AWS STS quotas": 10 managed policies of a user or group, 20 on request.
pub const POLICIES_ATTACHED_MAX: usize = 20;

/// Access keys of a user or of an account's root. AWS allows two; services that share a user want more.
pub const ACCESS_KEYS_PER_HOLDER_MAX: usize = 8;

/// AWS, "IAM and AWS STS quotas": names of users are at most 64 characters long; of groups and policies 128.
pub const IDENTITY_NAME_LENGTH_MAX: usize = 64;

/// Bytes of an account's name, which listings show as the owner's display name. AWS: 50 characters.
pub const ACCOUNT_NAME_LENGTH_MAX: usize = 50;

/// RFC 5321, section 4.5.3.1: a path of 256 octets with its brackets.
pub const EMAIL_LENGTH_MAX: usize = 254;

/// Access key ids shorter than MinIO's limit are refused, so that a configuration works with both.
pub const ACCESS_KEY_ID_LENGTH_MIN: usize = 3;

/// AWS, `AccessKeyId` of the IAM API: at most 128 characters.
pub const ACCESS_KEY_ID_LENGTH_MAX: usize = 128;

/// Secrets shorter than MinIO's limit are refused.
pub const SECRET_KEY_LENGTH_MIN: usize = 8;

/// Longer secrets are a mistake; clients store them in fields of about this length.
pub const SECRET_KEY_LENGTH_MAX: usize = 128;

/// Bytes of a request body of the admin API: a policy with room to spare.
pub const ADMIN_BODY_BYTES_MAX: usize = 64 * 1024;

/// Bytes of an answer that an admin command reads: all users of a node with all their policies.
pub const ADMIN_ANSWER_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Open connections of the admin listener. Administrators are few; beyond it they are told to slow down.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;

/// Webhooks that the configuration file declares. Each has its own queue and connection on every core that
/// delivers; MinIO users have a handful.
pub const WEBHOOKS_MAX: usize = 32;

/// Characters of a webhook's name: it stands in ARNs and logs.
pub const WEBHOOK_NAME_LENGTH_MAX: usize = 64;

/// Bytes of a webhook's URL, and of its token. RFC 9110 recommends that 8,000 be supported; nothing real is
/// near 2,000.
pub const WEBHOOK_URL_BYTES_MAX: usize = 2048;

/// Threads, and so connections, that deliver to one webhook. Each core's events go through the same one, which
/// keeps them in order; several make up for a receiver that takes its time.
pub const WEBHOOK_CONNECTIONS_MAX: usize = 4;

/// Bytes of a webhook's answer that are read so that its connection can be used again.
pub const WEBHOOK_ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Events of one core that are handed over to one webhook's thread before their outcome is known: enough that
/// the thread need not wait for the core. They are in memory, and may be sent twice if the node dies.
pub const EVENTS_UNDER_WAY_PER_CORE_MAX: usize = 16;

/// Queued events that a core looks at before it lets other work go first.
pub const EVENTS_COLLECTED_TOGETHER_MAX: usize = 64;

/// One attempt to deliver an event: connecting, sending, and waiting for the answer.
pub const EVENT_TIMEOUT_MS: u64 = 10_000;

/// Pause after an attempt that failed; it doubles with each further one up to the second limit, which is how long
/// a receiver that is back may wait for its events.
pub const EVENT_RETRY_MS_MIN: u64 = 100;
pub const EVENT_RETRY_MS_MAX: u64 = 10_000;

/// An event that its webhook refuses (4xx) holds back those behind it for so long, then it is dropped. Time to
/// mend a receiver's settings.
pub const EVENT_REFUSED_MS_MAX: u64 = 60 * 60 * 1000;

/// How long a node that stops waits for answers of webhooks. Events without one are sent again after the start.
pub const EVENTS_SETTLE_MS_MAX: u64 = 2_000;

/// Events that may wait for a webhook unless its declaration says otherwise. At a kilobyte each, 10 MB of log.
pub const WEBHOOK_QUEUE_DEFAULT: usize = 10_000;

/// Events that may wait for a webhook, at most: each takes memory and keeps its log record alive.
pub const WEBHOOK_QUEUE_MAX: usize = 1_000_000;

/// Seconds of a day of lifecycle rules, at most: a real day.
pub const LIFECYCLE_DAY_SECONDS_MAX: u64 = 24 * 60 * 60;

/// Free bytes of the drive under a new data directory, beside the first log segments of its cores: what the
/// first objects and checkpoints need.
pub const NEW_DIRECTORY_BYTES_FREE_MIN: u64 = 64 * 1024 * 1024;

/// Calls under way from one core to another. They bound the queue of each pair of cores; with more, latency
/// grows and throughput does not.
pub const CALLS_PER_PAIR_MAX: usize = 256;

/// Calls under way from one core to all others together, shared out evenly on nodes of many cores, so that
/// the memory of queues grows with the cores and not with their square.
pub const CALLS_PER_CORE_MAX: usize = 8192;

/// Bytes of a header or path that an entry of the access log keeps. AWS's logs have no bound; no client's name is
/// near it.
pub const AUDIT_FIELD_BYTES_MAX: usize = 512;

/// Bytes of the keys of one DeleteObjects that its entry of the access log names; it counts the rest. A thousand keys
/// of usual length fit; the queue must hold several such entries.
pub const AUDIT_DELETIONS_BYTES_MAX: usize = 128 * 1024;

/// Entries of the access log, in bytes, that wait at one core for one file or webhook: some seconds of a busy core,
/// minutes of others. Beyond it entries are dropped and counted.
pub const AUDIT_QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// How long entries of the access log gather before they are written: one write takes many, and nobody waits.
pub const AUDIT_GATHER_MS: u64 = 20;

/// Bytes of entries in one message to the audit webhook.
pub const AUDIT_MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Pause after the access log could not be written.
pub const AUDIT_RETRY_MS: u64 = 1000;

/// A message that the audit webhook refuses (4xx) holds back those behind it for so long, then it is dropped.
pub const AUDIT_REFUSED_MS_MAX: u64 = 60 * 1000;

/// How long a node that stops waits until its access log is written and delivered. What is not by then is lost.
pub const AUDIT_SETTLE_MS_MAX: u64 = 3_000;

/// Older files of the access log that are kept, at most. Each rotation renames all of them.
pub const AUDIT_FILES_MAX: usize = 1000;

/// Bytes of an access log's file before it is rotated: at least many entries of any length.
pub const AUDIT_FILE_BYTES_MIN: u64 = 64 * 1024;

/// Lines of the log that wait for standard error. A terminal or a pipe that takes nothing must not stop the node;
/// beyond it lines are dropped and counted.
pub const LOG_QUEUE_LINES_MAX: usize = 4096;

/// How long a process that ends waits for standard error to take the last lines of its log.
pub const LOG_FLUSH_MS_MAX: u64 = 1000;

/// Warnings and errors that one place in the code writes to the log in one window of time. Enough to see what
/// happens and to whom; a drive that fails would write thousands a second.
pub const LOG_REPEATS_MAX: u32 = 20;

/// The window that [`LOG_REPEATS_MAX`] counts in.
pub const LOG_REPEATS_WINDOW_MS: u64 = 10_000;

/// Bytes of a level of the log, which may be a list of directives for modules.
pub const LOG_LEVEL_BYTES_MAX: usize = 1024;

/// Connections on their way from the core that accepted them to another. When the queue is full, the
/// accepting core keeps the connection.
pub const HANDOVERS_PER_PAIR_MAX: usize = 64;

/// Open connections of a core. Each holds a file descriptor and up to a head of memory; beyond it clients
/// are told to slow down.
pub const CONNECTIONS_PER_CORE_MAX: usize = 8192;

/// Connections beyond [`CONNECTIONS_PER_CORE_MAX`] that a core answers with "slow down" at the same time;
/// further ones are closed without a word.
pub const REFUSALS_PER_CORE_MAX: usize = 64;

/// Connections that wait to be accepted. The kernel lowers it to net.core.somaxconn; a burst of clients
/// beyond it waits a second for its SYN to be repeated.
pub const LISTEN_BACKLOG: i32 = 4096;

/// Descriptors of a core beside connections and segment files that are kept open: two rings, their events,
/// listening sockets, segments that are written, checkpoints and segments that are read in the background.
pub const DESCRIPTORS_PER_CORE: usize = 32;

/// Descriptors of a node beside those of its cores: directories, locks, webhooks, the admin listener's
/// connections.
pub const DESCRIPTORS_OF_NODE: usize = 128;

/// Operations of a core's storage ring under way at a time. A drive's queue holds about a thousand; more
/// here would only wait in the kernel, fewer would leave fast drives idle.
pub const RING_ENTRIES: u32 = 512;

/// Submission entries of a core's socket ring: operations that are queued between two system calls. A full
/// queue costs one more system call.
pub const SOCKET_RING_ENTRIES: u32 = 1024;

/// How often, a millisecond apart, a file operation is tried again that the kernel had no resources for
/// (EAGAIN). Longer would hide a drive that hangs, shorter would fail under passing memory pressure.
pub const RING_RETRIES_MAX: u32 = 1000;
/// Records waiting for the log of a core, in bytes: what arrives during one slow write of the drive. Beyond
/// it, writers wait.
pub const LOG_QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Writes of one upload in flight: enough to keep a fast drive busy while the next buffer fills. More holds
/// buffers that other uploads could use.
pub const UPLOAD_WRITES_MAX: usize = 4;

/// Reads of one download in flight or waiting to be sent.
pub const READ_AHEAD_BUFFERS: usize = 3;

/// Open segment files that a core keeps at hand. Each costs a descriptor; opening one again costs some
/// microseconds.
pub const OPEN_FILES_MAX: usize = 512;

/// Checksum blocks of extents that a core keeps at hand (about 4 KiB each at most).
pub const EXTENT_TRAILERS_MAX: usize = 2048;

/// Checkpoints kept of each core: if the newest is damaged, the one before and more log will do.
pub const CHECKPOINTS_KEPT: usize = 2;

/// Bytes of a log segment's file, and so of a batch: what recovery after a crash reads twice at most. Offline
/// tools believe no batch that claims more.
pub const LOG_SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of a file of `/proc` or `/sys` that `ringcask doctor` reads. The longest is `/proc/interrupts`: 11 bytes for
/// each CPU and interrupt, thousands of either on the largest machines.
pub const HOST_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Entries of a directory of `/proc` or `/sys` that `ringcask doctor` looks at: queues, interrupts, CPUs.
pub const HOST_ENTRIES_MAX: usize = 16 * 1024;

/// Control groups one within the other that `ringcask doctor` asks for limits, from the inside: containers in pods in
/// slices are five or six.
pub const HOST_GROUPS_NESTED_MAX: usize = 64;

/// Devices one above the other (a partition of an encrypted volume of an array) that `ringcask doctor` follows from
/// a file system down to its drives.
pub const HOST_DEVICES_STACKED_MAX: usize = 8;

/// Findings of each severity that a check keeps; it counts the rest. A drive that is gone makes millions, and
/// nobody reads more than some hundred.
pub const OFFLINE_FINDINGS_MAX: usize = 1000;

/// Objects that one finding names; it counts the rest.
pub const OFFLINE_OBJECTS_NAMED_MAX: usize = 100;

/// Newest versions of a key among which a repeated completion looks for what its upload became. Each may cost
/// a read; a client repeats within seconds, and with fewer a key that is written often would answer that there
/// is no such upload.
pub const COMPLETED_VERSIONS_MAX: usize = 16;

/// Bytes of a leaf of the index, in which entries stand packed; one that is longer than this is a leaf of its own.
/// A change moves half a leaf, a look-up reads half of one; smaller leaves need more of what points to them (about
/// 120 bytes a leaf).
pub const INDEX_LEAF_BYTES_MAX: usize = 2048;

/// Index entries that a checkpoint or another long walk handles before it lets the core do something else.
pub const WALK_STEP_ENTRIES: usize = 512;

/// Records that cleaning moves at once: each is a task of its core, and they share batches of the log. With few,
/// small records take a block of the log each, and cleaning gains nothing.
pub const RECORDS_MOVED_TOGETHER_MAX: usize = 512;

/// Tags of an object, as at AWS ("Categorizing your storage using tags"): they are looked at with every policy
/// that asks for them.
pub const OBJECT_TAGS_MAX: usize = 10;

/// Tags of a bucket, as at AWS ("Using cost allocation S3 bucket tags").
pub const BUCKET_TAGS_MAX: usize = 50;

/// Length of a tag's key, as at AWS, in units of UTF-16.
pub const TAG_KEY_CHARACTERS_MAX: usize = 128;

/// Length of a tag's value, as at AWS, in units of UTF-16.
pub const TAG_VALUE_CHARACTERS_MAX: usize = 256;

/// Rules of a CORS configuration, as at AWS ("Elements of a CORS configuration"): each request of another origin
/// looks at all of them.
pub const CORS_RULES_MAX: usize = 100;

/// Bytes of a CORS configuration, as at AWS (PutBucketCors).
pub const CORS_BYTES_MAX: usize = 64 * 1024;

/// Rules of a lifecycle configuration, as at AWS (PutBucketLifecycleConfiguration).
pub const LIFECYCLE_RULES_MAX: usize = 1000;

/// AWS, "Lifecycle configuration elements": `NewerNoncurrentVersions` keeps up to 100 versions.
pub const NEWER_VERSIONS_MAX: u32 = 100;

/// Versions (or uploads) that the lifecycle driver looks at before it lets the core go on with requests. A step
/// costs some tens of microseconds, and its deletions share batches of the log.
pub const LIFECYCLE_STEP_ENTRIES: usize = 128;

/// Pause after each step of the lifecycle driver: it leaves the core to requests most of the time, and still
/// walks ten million versions of a core within seven minutes.
pub const LIFECYCLE_STEP_PAUSE_MS: u64 = 5;

/// After a start, and after midnight UTC, lifecycle rules wait so long: nodes have other things to do then.
pub const LIFECYCLE_DELAY_MS: u64 = 5 * 60 * 1000;

/// With days shortened for tests, lifecycle rules are looked at four times a day, but no more often than this.
pub const LIFECYCLE_PASS_PAUSE_MS_MIN: u64 = 1000;

/// The lifecycle driver looks at the clock so often: it may be set, and the node may be ending.
pub const LIFECYCLE_CLOCK_PAUSE_MS: u64 = 30 * 1000;

/// Who asks how the node is waits so long for a core: a core that does not answer a message within two seconds
/// serves nobody either, and probes usually give up after a few.
pub const HEALTH_ANSWER_MS_MAX: u64 = 2000;

/// Buckets that the metrics show with what they hold, the first by name: each takes three series in a monitoring
/// system, which pays for every one. How many are not shown is a series of its own.
pub const METRICS_BUCKETS_MAX: usize = 1000;

/// How often a change that makes a bucket grow is tried whose key changes between the promise of room in the
/// bucket's quota and its use. Each time somebody else has changed the key; a client that loses so often is told to
/// slow down.
pub const QUOTA_ATTEMPTS_MAX: usize = 32;

/// Damaged places of a core in an answer about its health: enough to see what is going on; the log has all.
pub const HEALTH_DAMAGES_SHOWN_MAX: usize = 10;

/// Notification configurations of a bucket, as at AWS ("Amazon S3 event notifications").
pub const NOTIFICATIONS_MAX: usize = 100;

/// Length of the id of a rule of lifecycle, CORS and notification configurations, as at AWS.
pub const SETTING_ID_CHARACTERS_MAX: usize = 255;

/// AWS, PutObjectLockConfiguration: a default retention lasts at most 36,500 days or 100 years.
pub const RETENTION_DAYS_MAX: u32 = 36_500;
pub const RETENTION_YEARS_MAX: u32 = 100;

/// Buckets whose settings a core keeps as they were read. Few kilobytes each; with fewer, a node of many busy
/// buckets reads documents again and again.
pub const BUCKET_SETTINGS_CACHED_MAX: usize = 4096;

/// An entry names each byte of a key in at most six (`\u0000`), and one is as long as its deletions.
const _: () = assert!(AUDIT_QUEUE_BYTES >= 2 * 6 * AUDIT_DELETIONS_BYTES_MAX);
const _: () = assert!(FORM_BYTES_MAX < FORM_BUFFER_BYTES);
const _: () = assert!(RECEIVE_BUFFER_BYTES <= HEAD_BYTES_MAX);
const _: () = assert!(CALLS_PER_CORE_MAX >= CORES_MAX);
const _: () = assert!(INLINE_BYTES_MAX <= BUFFER_BYTES);
const _: () = assert!(EVENT_BODY_BYTES_MAX <= INLINE_BYTES_MAX);
const _: () = assert!(BUFFER_BYTES.is_multiple_of(CHECKSUM_CHUNK_BYTES));
const _: () = assert!(CHECKSUM_CHUNK_BYTES.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(SMALL_BUFFER_BYTES.is_multiple_of(BLOCK_BYTES));
/// 64 bytes of header and 4 bytes for each chunk must fit one block.
const _: () = assert!(64 + 4 * (EXTENT_BYTES_MAX as usize / CHECKSUM_CHUNK_BYTES) <= BLOCK_BYTES);
