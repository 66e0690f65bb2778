//! Requests that botocore signed.

use super::*;

#[test]
fn requests_signed_by_botocore_are_authentic() {
    let mut count = 0;
    for case in include_str!("../testdata/botocore.txt").split("\n\n").skip(1) {
        let (title, request) = case.strip_prefix("# ").unwrap().split_once('\n').unwrap();
        let [name, seconds, bucket] = title.split(" | ").collect::<Vec<_>>()[..] else { panic!("{title}") };
        let now = seconds.parse::<u64>().unwrap() * 1000;
        let bucket = Some(bucket).filter(|bucket| *bucket != "-");
        let head = head(request.trim_end());
        assert_signed(&head, now, bucket, name);
        let mut other = head;
        other.path.push('x');
        assert!(
            matches!(check(&other, now, bucket), Err(AuthError::SignatureDoesNotMatch { .. })),
            "{name}: another key must not pass"
        );
        count += 1;
    }
    assert!(count > 100);
}
