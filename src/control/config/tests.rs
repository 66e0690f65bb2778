//! Settings from every source, and what is refused.

use super::*;

fn environment(layer: &[(&str, &str)]) -> Result<Layer, String> {
    Layer::from_environment(|name| {
        layer.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn without_any_source_the_defaults_hold() {
    let settings = Layer::default().settle().unwrap();
    assert_eq!(settings.data, [PathBuf::from("./data")]);
    assert_eq!(settings.listen.to_string(), "127.0.0.1:9000");
    assert_eq!(settings.admin_listen.unwrap().to_string(), "127.0.0.1:9001");
    assert_eq!(settings.region, "us-east-1");
    assert_eq!(settings.arena_bytes, 64 << 20);
    assert_eq!(settings.cores, cpus().len());
    assert_eq!(settings.drain, Duration::from_secs(10));
}

#[test]
fn the_command_line_beats_the_environment_and_that_beats_the_file() {
    let line = Layer { region: Some("line".into()), ..Layer::default() };
    let environment = environment(&[("RINGCASK_REGION", "environment"), ("RINGCASK_CORES", "3")]).unwrap();
    let file = Layer::from_toml("region = 'file'\ncores = 7\nlisten = '[::1]:81'").unwrap();
    let settings = line.or(environment).or(file).settle().unwrap();
    assert_eq!(settings.region, "line");
    assert_eq!(settings.cores, 3);
    assert_eq!(settings.listen.to_string(), "[::1]:81");
}

#[test]
fn every_setting_can_come_from_the_file() {
    let text = "data = ['/a', '/b']\nlisten = '0.0.0.0:80'\nadmin-listen = '[::1]:9'\n\
                master-key-file = '/k'\ncores = 2\ndomain = 'S3.example.com'\n\
                region = 'eu'\narena = '128MiB'\ncache = 1048576\ndrain-seconds = 5\n\
                log-level = 'warn'\nlog-format = 'json'\nnew-buckets = 'acl'\nlifecycle-day-seconds = 10\n\
                scrub-bytes-per-second = '1MiB'\naccept-damage = true\n\
                tls-certificate = ['/c', '/d']\ntls-key = '/k'\ntls-self-signed = false\n\
                listen-http = '0.0.0.0:81'\nadmin-tls = true\n\
                access-log = '/log'\naccess-log-size = '1MiB'\naccess-log-files = 3\n\
                audit-webhook = 'http://h/x'\naudit-webhook-token-file = '/token'\nslow-request-ms = 500\n\
                metrics-token-file = '/metrics'\nsse-c-over-http = true\n\
                    forget-master-key = '0123456789abcdef'";
    let settings = Layer::from_toml(text).unwrap().settle().unwrap();
    assert_eq!(settings.data, [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert_eq!(settings.domains, ["s3.example.com"]);
    assert_eq!((settings.arena_bytes, settings.cache_bytes), (128 << 20, 1 << 20));
    assert_eq!((settings.drain, settings.log_format), (Duration::from_secs(5), LogFormat::Json));
    assert_eq!(
        (settings.admin_listen.unwrap().port(), settings.master_key_file),
        (9, Some(PathBuf::from("/k")))
    );
    assert_eq!((settings.new_buckets, settings.lifecycle_day), (NewBuckets::Acl, Duration::from_secs(10)));
    assert_eq!((settings.scrub_bytes_per_second, settings.accept_damage), (1 << 20, true));
    assert_eq!(settings.tls_certificates, [PathBuf::from("/c"), PathBuf::from("/d")]);
    assert_eq!((settings.tls_keys, settings.tls_self_signed), (vec![PathBuf::from("/k")], false));
    assert_eq!((settings.listen_http.unwrap().port(), settings.admin_tls), (81, true));
    assert_eq!(settings.metrics_token_file, Some(PathBuf::from("/metrics")));
    assert!(settings.sse_c_over_http);
    assert_eq!(settings.forget_master_key.as_deref(), Some("0123456789abcdef"));
    let access_log = AccessLog { path: "/log".into(), bytes_max: Some(1 << 20), files_max: 3 };
    assert_eq!(
        (settings.access_log, settings.slow_request),
        (Some(access_log), Some(Duration::from_millis(500)))
    );
    let webhook = AuditWebhook { url: "http://h/x".to_owned(), token_file: Some("/token".into()) };
    assert_eq!(settings.audit_webhook, Some(webhook));
    assert_eq!(Layer::keys().count(), text.lines().count(), "a setting is missing from this test");
}

#[test]
fn every_setting_can_come_from_the_environment() {
    let variables = [
        ("RINGCASK_DATA", "/a:/b,c"),
        ("RINGCASK_LISTEN", "0.0.0.0:80"),
        ("RINGCASK_TLS_CERTIFICATE", "/c:/d"),
        ("RINGCASK_TLS_KEY", "/k"),
        ("RINGCASK_TLS_SELF_SIGNED", "false"),
        ("RINGCASK_LISTEN_HTTP", "0.0.0.0:82"),
        ("RINGCASK_ADMIN_LISTEN", "127.0.0.1:81"),
        ("RINGCASK_ADMIN_TLS", "true"),
        ("RINGCASK_METRICS_TOKEN_FILE", "/token"),
        ("RINGCASK_MASTER_KEY_FILE", "/k"),
        ("RINGCASK_CORES", "2"),
        ("RINGCASK_DOMAIN", "a.example, b.example"),
        ("RINGCASK_REGION", "eu"),
        ("RINGCASK_ARENA", "128MiB"),
        ("RINGCASK_CACHE", "0"),
        ("RINGCASK_DRAIN_SECONDS", "5"),
        ("RINGCASK_LOG_LEVEL", "debug"),
        ("RINGCASK_LOG_FORMAT", "json"),
        ("RINGCASK_ACCESS_LOG", "/log"),
        ("RINGCASK_ACCESS_LOG_SIZE", "0"),
        ("RINGCASK_ACCESS_LOG_FILES", "3"),
        ("RINGCASK_AUDIT_WEBHOOK", "http://h/x"),
        ("RINGCASK_AUDIT_WEBHOOK_TOKEN_FILE", "/token"),
        ("RINGCASK_SLOW_REQUEST_MS", "0"),
        ("RINGCASK_NEW_BUCKETS", "acl"),
        ("RINGCASK_SSE_C_OVER_HTTP", "true"),
        ("RINGCASK_LIFECYCLE_DAY_SECONDS", "7"),
        ("RINGCASK_SCRUB_BYTES_PER_SECOND", "0"),
        ("RINGCASK_ACCEPT_DAMAGE", "true"),
        ("RINGCASK_FORGET_MASTER_KEY", "0123456789abcdef"),
    ];
    assert_eq!(Layer::keys().count(), variables.len(), "a setting is missing from this test");
    let settings = environment(&variables).unwrap().settle().unwrap();
    assert_eq!(settings.data, [PathBuf::from("/a"), PathBuf::from("/b,c")]);
    assert_eq!(settings.domains, ["a.example", "b.example"]);
    assert_eq!((settings.cores, settings.cache_bytes), (2, 0));
    assert_eq!((settings.scrub_bytes_per_second, settings.accept_damage), (0, true));
    let access_log = AccessLog { path: "/log".into(), bytes_max: None, files_max: 3 };
    assert_eq!((settings.access_log, settings.slow_request), (Some(access_log), None));
}

#[test]
fn webhooks_are_declared_in_the_file_alone() {
    let text = "region = 'eu'\n[[webhook]]\nname = 'one'\nurl = 'http://h/x'\ntoken = 't'\nqueue-max = 5\n\
                [[webhook]]\nname = 'two'\nurl = 'http://h:81/y'";
    let settings = Layer::from_toml(text).unwrap().settle().unwrap();
    let arns: Vec<_> = settings.notification_targets.iter().map(|target| target.arn.as_str()).collect();
    assert_eq!(arns, ["arn:ringcask:sqs:eu:one:webhook", "arn:ringcask:sqs:eu:two:webhook"]);
    assert_eq!(settings.notification_targets[0].queue_max, 5);
    assert!(Layer::from_toml("[[webhook]]\nname = 'a'\nurl = 'http://h'\nurls = 1").is_err());
    assert!(Layer::from_toml("[[webhook]]\nname = 'a'\nurl = 'https://h'").unwrap().settle().is_err());
}

#[test]
fn an_unknown_key_gets_a_suggestion() {
    assert_eq!(Layer::from_toml("lisen = 'x'"), Err("unknown key 'lisen'; did you mean 'listen'?".into()));
    assert_eq!(
        Layer::from_toml("log_level = 'info'"),
        Err("unknown key 'log_level'; did you mean 'log-level'?".into())
    );
    assert!(Layer::from_toml("zzz = 1").unwrap_err().contains("known are data, listen"));
}

#[test]
fn errors_name_the_line_or_the_variable() {
    let error = Layer::from_toml("cores = 2\nlisten = 'nowhere'").unwrap_err();
    assert!(error.starts_with("line 2: "), "{error}");
    let error = Layer::from_toml("cores = 2\n\n!").unwrap_err();
    assert!(error.starts_with("line 3: "), "{error}");
    let error = environment(&[("RINGCASK_CORES", "many")]).unwrap_err();
    assert!(error.starts_with("RINGCASK_CORES: "), "{error}");
}

#[test]
fn values_that_cannot_work_are_refused() {
    let bad = [
        "cores = 0",
        "cores = 1000000",
        "data = []",
        "data = ''",
        "arena = '1KiB'",
        "domain = 'http://x'",
        "region = 'a/b'",
        "region = ''",
        "log-level = 'ringcask=loud'",
        "lifecycle-day-seconds = 0",
        "tls-key = '/k'",
        "admin-tls = true",
        "listen-http = '127.0.0.1:81'",
        "tls-certificate = '/c'\ntls-self-signed = true",
        "lifecycle-day-seconds = 86401",
        "access-log-files = 3",
        "access-log = '/log'\naccess-log-files = 0",
        "access-log = '/log'\naccess-log-size = '1KiB'",
        "audit-webhook = 'https://h/x'",
        "audit-webhook = 'http://u:p@h/x'",
        "audit-webhook-token-file = '/token'",
        "metrics-token-file = '/token'\nadmin-listen = 'off'",
    ];
    for text in bad {
        assert!(Layer::from_toml(text).unwrap().settle().is_err(), "{text}");
    }
}
