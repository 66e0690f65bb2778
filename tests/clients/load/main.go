// Command load drives an S3 server with MinIO's Go client the way the warp benchmark does: 20 concurrent
// requests in the client's default payload mode (over http chunks of 64 KiB, each signed), objects beyond
// 16 MiB as multipart uploads, the bucket wiped before and after with ListObjectsV2 and batched deletes.
//
// It checks what a benchmark only counts: every body read is compared with what was written, every listing
// with what is stored. It prints a line of totals for each workload and exits 1 at the first error.
//
// Usage: load [-seconds N] [-size BYTES] WORKLOAD... with the endpoint in S3_ENDPOINT (host:port) and the
// credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Without a workload it runs all.
package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	concurrency    = 20
	partBytes      = 16 << 20
	partBytesSmall = 5 << 20
	deleteBatch    = 100
)

// A run of one workload.
type run struct {
	client     *minio.Client
	core       *minio.Core
	bucket     string
	objectSize int
	length     time.Duration
	started    time.Time
	operations atomic.Int64
	payload    atomic.Int64
}

var workloads = []struct {
	name string
	run  func(context.Context, *run) error
}{
	{"put", put},
	{"get", get},
	{"delete", remove},
	{"list", list},
	{"stat", stat},
	{"mixed", mixed},
	{"multipart", multipart},
	{"multipart-put", multipartPut},
}

func main() {
	seconds := flag.Int("seconds", 3, "how long each workload runs")
	size := flag.Int("size", 200_000, "bytes of an object")
	flag.Parse()
	wanted := map[string]bool{}
	for _, name := range flag.Args() {
		wanted[name] = true
	}
	failed := false
	for _, workload := range workloads {
		if len(wanted) > 0 && !wanted[workload.name] {
			continue
		}
		if err := one(workload.name, workload.run, time.Duration(*seconds)*time.Second, *size); err != nil {
			fmt.Printf("%s: FAILED: %v\n", workload.name, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

func one(name string, workload func(context.Context, *run) error, length time.Duration, size int) error {
	options := &minio.Options{
		Creds: credentials.NewStaticV4(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), ""),
		Secure: strings.HasPrefix(os.Getenv("AWS_ENDPOINT_URL"), "https:"),
		// A retry would hide an error.
		MaxRetries: 1,
	}
	client, err := minio.New(os.Getenv("S3_ENDPOINT"), options)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), length+2*time.Minute)
	defer cancel()
	r := &run{client: client, core: &minio.Core{Client: client}, bucket: "load-" + name, objectSize: size, length: length}
	exists, err := client.BucketExists(ctx, r.bucket)
	if err != nil {
		return fmt.Errorf("HeadBucket: %w", err)
	}
	if !exists {
		if err := client.MakeBucket(ctx, r.bucket, minio.MakeBucketOptions{}); err != nil {
			return fmt.Errorf("CreateBucket: %w", err)
		}
	}
	if _, err := client.GetBucketVersioning(ctx, r.bucket); err != nil {
		return fmt.Errorf("GetBucketVersioning: %w", err)
	}
	if err := wipe(ctx, r); err != nil {
		return fmt.Errorf("wipe before: %w", err)
	}
	r.started = time.Now()
	if err := workload(ctx, r); err != nil {
		return err
	}
	took := time.Since(r.started).Seconds()
	fmt.Printf("%s: %d operations, %.1f MB/s, 0 errors\n", name, r.operations.Load(),
		float64(r.payload.Load())/took/1e6)
	if err := wipe(ctx, r); err != nil {
		return fmt.Errorf("wipe after: %w", err)
	}
	if err := client.RemoveBucket(ctx, r.bucket); err != nil {
		return fmt.Errorf("DeleteBucket: %w", err)
	}
	return nil
}

// each calls work in parallel until it says done or fails.
func each(ctx context.Context, work func(ctx context.Context, worker int) (more bool, err error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	for worker := range concurrency {
		group.Add(1)
		go func() {
			defer group.Done()
			for ctx.Err() == nil {
				more, err := work(ctx, worker)
				if err != nil && ctx.Err() == nil {
					cancel(err)
				}
				if err != nil || !more {
					return
				}
			}
		}()
	}
	group.Wait()
	return context.Cause(ctx)
}

func (r *run) timeLeft() bool { return time.Since(r.started) < r.length }

// body is the content of an object, different for each name and reproducible from it.
func body(name string, size int) []byte {
	sum := md5.Sum([]byte(name))
	var seed [32]byte
	copy(seed[:], sum[:])
	data := make([]byte, size)
	rand.NewChaCha8(seed).Read(data)
	return data
}

func (r *run) upload(ctx context.Context, name string) error {
	data := body(name, r.objectSize)
	info, err := r.client.PutObject(ctx, r.bucket, name, bytes.NewReader(data), int64(len(data)),
		minio.PutObjectOptions{PartSize: partBytes})
	if err != nil {
		return fmt.Errorf("PutObject %s: %w", name, err)
	}
	sum := md5.Sum(data)
	if len(data) <= partBytes && info.ETag != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("PutObject %s: ETag %s is not the MD5", name, info.ETag)
	}
	r.payload.Add(int64(len(data)))
	return nil
}

func (r *run) download(ctx context.Context, name string) error {
	object, err := r.client.GetObject(ctx, r.bucket, name, minio.GetObjectOptions{})
	if err != nil {
		return fmt.Errorf("GetObject %s: %w", name, err)
	}
	defer object.Close()
	data, err := io.ReadAll(object)
	if err != nil {
		return fmt.Errorf("GetObject %s: %w", name, err)
	}
	if !bytes.Equal(data, body(name, r.objectSize)) {
		return fmt.Errorf("GetObject %s: %d bytes that differ from what was put", name, len(data))
	}
	r.payload.Add(int64(len(data)))
	return nil
}

// prepare uploads count objects and returns their names.
func (r *run) prepare(ctx context.Context, count int) ([]string, error) {
	names := make([]string, count)
	for index := range names {
		names[index] = fmt.Sprintf("prefix-%d/object %d+&=.bin", index%7, index)
	}
	var next atomic.Int64
	err := each(ctx, func(ctx context.Context, _ int) (bool, error) {
		index := int(next.Add(1)) - 1
		if index >= count {
			return false, nil
		}
		return true, r.upload(ctx, names[index])
	})
	r.payload.Store(0)
	r.started = time.Now()
	return names, err
}

func put(ctx context.Context, r *run) error {
	var next atomic.Int64
	return each(ctx, func(ctx context.Context, worker int) (bool, error) {
		err := r.upload(ctx, fmt.Sprintf("%d/%d", worker, next.Add(1)))
		r.operations.Add(1)
		return r.timeLeft(), err
	})
}

func get(ctx context.Context, r *run) error {
	names, err := r.prepare(ctx, 100)
	if err != nil {
		return err
	}
	return each(ctx, func(ctx context.Context, _ int) (bool, error) {
		name := names[rand.IntN(len(names))]
		r.operations.Add(1)
		if rand.IntN(4) > 0 {
			return r.timeLeft(), r.download(ctx, name)
		}
		return r.timeLeft(), r.downloadRange(ctx, name)
	})
}

func (r *run) downloadRange(ctx context.Context, name string) error {
	first := rand.IntN(r.objectSize)
	last := first + rand.IntN(r.objectSize-first)
	options := minio.GetObjectOptions{}
	if err := options.SetRange(int64(first), int64(last)); err != nil {
		return err
	}
	reader, _, _, err := r.core.GetObject(ctx, r.bucket, name, options)
	if err != nil {
		return fmt.Errorf("GetObject %s bytes=%d-%d: %w", name, first, last, err)
	}
	defer reader.Close()
	data, err := io.ReadAll(reader)
	if err != nil {
		return fmt.Errorf("GetObject %s bytes=%d-%d: %w", name, first, last, err)
	}
	if !bytes.Equal(data, body(name, r.objectSize)[first:last+1]) {
		return fmt.Errorf("GetObject %s bytes=%d-%d: wrong bytes", name, first, last)
	}
	r.payload.Add(int64(len(data)))
	return nil
}

func remove(ctx context.Context, r *run) error {
	small := r.objectSize
	r.objectSize = 1000
	defer func() { r.objectSize = small }()
	names, err := r.prepare(ctx, 2000)
	if err != nil {
		return err
	}
	batches := make(chan []string, len(names)/deleteBatch)
	for first := 0; first < len(names); first += deleteBatch {
		batches <- names[first:min(first+deleteBatch, len(names))]
	}
	close(batches)
	err = each(ctx, func(ctx context.Context, _ int) (bool, error) {
		batch, more := <-batches
		if !more {
			return false, nil
		}
		objects := make(chan minio.ObjectInfo, len(batch))
		for _, name := range batch {
			objects <- minio.ObjectInfo{Key: name}
		}
		close(objects)
		for failure := range r.client.RemoveObjects(ctx, r.bucket, objects, minio.RemoveObjectsOptions{}) {
			return false, fmt.Errorf("DeleteObjects %s: %w", failure.ObjectName, failure.Err)
		}
		r.operations.Add(int64(len(batch)))
		return true, nil
	})
	if err != nil {
		return err
	}
	count, err := r.count(ctx, "")
	if err == nil && count != 0 {
		err = fmt.Errorf("%d objects are listed after all were deleted", count)
	}
	return err
}

func (r *run) count(ctx context.Context, prefix string) (int, error) {
	count := 0
	for object := range r.client.ListObjects(ctx, r.bucket, minio.ListObjectsOptions{
		Prefix: prefix, Recursive: true, MaxKeys: 100,
	}) {
		if object.Err != nil {
			return 0, fmt.Errorf("ListObjectsV2: %w", object.Err)
		}
		count++
	}
	return count, nil
}

func list(ctx context.Context, r *run) error {
	small := r.objectSize
	r.objectSize = 1000
	defer func() { r.objectSize = small }()
	names, err := r.prepare(ctx, 1400)
	if err != nil {
		return err
	}
	return each(ctx, func(ctx context.Context, worker int) (bool, error) {
		count, err := r.count(ctx, fmt.Sprintf("prefix-%d/", worker%7))
		if err == nil && count != len(names)/7 {
			err = fmt.Errorf("ListObjectsV2: %d objects instead of %d", count, len(names)/7)
		}
		r.operations.Add(1)
		return r.timeLeft(), err
	})
}

func stat(ctx context.Context, r *run) error {
	names, err := r.prepare(ctx, 100)
	if err != nil {
		return err
	}
	return each(ctx, func(ctx context.Context, _ int) (bool, error) {
		name := names[rand.IntN(len(names))]
		info, err := r.client.StatObject(ctx, r.bucket, name, minio.StatObjectOptions{})
		if err == nil && info.Size != int64(r.objectSize) {
			err = fmt.Errorf("%d bytes instead of %d", info.Size, r.objectSize)
		}
		if err != nil {
			err = fmt.Errorf("HeadObject %s: %w", name, err)
		}
		r.operations.Add(1)
		return r.timeLeft(), err
	})
}

func mixed(ctx context.Context, r *run) error {
	names, err := r.prepare(ctx, 200)
	if err != nil {
		return err
	}
	var next atomic.Int64
	pool := make(chan string, 1<<16)
	for _, name := range names {
		pool <- name
	}
	return each(ctx, func(ctx context.Context, worker int) (bool, error) {
		r.operations.Add(1)
		dice := rand.IntN(100)
		if dice < 15 || len(pool) < 2*concurrency {
			name := fmt.Sprintf("mixed/%d/%d", worker, next.Add(1))
			err := r.upload(ctx, name)
			pool <- name
			return r.timeLeft(), err
		}
		name := <-pool
		if dice < 25 {
			err := r.client.RemoveObject(ctx, r.bucket, name, minio.RemoveObjectOptions{})
			if err != nil {
				err = fmt.Errorf("DeleteObject %s: %w", name, err)
			}
			return r.timeLeft(), err
		}
		// The name is this worker's own until it is put back: nobody deletes what is being read.
		defer func() { pool <- name }()
		if dice < 55 {
			_, err := r.client.StatObject(ctx, r.bucket, name, minio.StatObjectOptions{})
			if err != nil {
				err = fmt.Errorf("HeadObject %s: %w", name, err)
			}
			return r.timeLeft(), err
		}
		return r.timeLeft(), r.download(ctx, name)
	})
}

// uploadParts makes one object of parts and returns their contents' seeds.
func (r *run) uploadParts(ctx context.Context, name string, count int) ([]string, error) {
	id, err := r.core.NewMultipartUpload(ctx, r.bucket, name, minio.PutObjectOptions{})
	if err != nil {
		return nil, fmt.Errorf("CreateMultipartUpload %s: %w", name, err)
	}
	seeds := make([]string, count)
	parts := make([]minio.CompletePart, count)
	failures := make(chan error, count)
	for index := range count {
		seeds[index] = fmt.Sprintf("%s part %d", name, index+1)
		go func() {
			data := body(seeds[index], partBytesSmall)
			part, err := r.core.PutObjectPart(ctx, r.bucket, name, id, index+1, bytes.NewReader(data),
				int64(len(data)), minio.PutObjectPartOptions{})
			parts[index] = minio.CompletePart{PartNumber: index + 1, ETag: part.ETag}
			r.operations.Add(1)
			r.payload.Add(int64(len(data)))
			failures <- err
		}()
	}
	for range count {
		err = errors.Join(err, <-failures)
	}
	if err != nil {
		return nil, fmt.Errorf("UploadPart %s: %w", name, err)
	}
	if _, err := r.core.CompleteMultipartUpload(ctx, r.bucket, name, id, parts, minio.PutObjectOptions{}); err != nil {
		return nil, fmt.Errorf("CompleteMultipartUpload %s: %w", name, err)
	}
	return seeds, nil
}

func multipart(ctx context.Context, r *run) error {
	seeds, err := r.uploadParts(ctx, "parts", 8)
	if err != nil {
		return err
	}
	r.payload.Store(0)
	r.started = time.Now()
	return each(ctx, func(ctx context.Context, _ int) (bool, error) {
		number := 1 + rand.IntN(len(seeds))
		reader, info, _, err := r.core.GetObject(ctx, r.bucket, "parts", minio.GetObjectOptions{PartNumber: number})
		if err != nil {
			return false, fmt.Errorf("GetObject partNumber=%d: %w", number, err)
		}
		defer reader.Close()
		data, err := io.ReadAll(reader)
		if err == nil && (info.Size != partBytesSmall || !bytes.Equal(data, body(seeds[number-1], partBytesSmall))) {
			err = fmt.Errorf("wrong bytes, size %d", info.Size)
		}
		if err != nil {
			err = fmt.Errorf("GetObject partNumber=%d: %w", number, err)
		}
		r.operations.Add(1)
		r.payload.Add(int64(len(data)))
		return r.timeLeft(), err
	})
}

func multipartPut(ctx context.Context, r *run) error {
	var next atomic.Int64
	return each(ctx, func(ctx context.Context, worker int) (bool, error) {
		if worker >= 4 {
			return false, nil
		}
		_, err := r.uploadParts(ctx, fmt.Sprintf("upload %d", next.Add(1)), 4)
		return r.timeLeft(), err
	})
}

func wipe(ctx context.Context, r *run) error {
	objects := make(chan minio.ObjectInfo)
	listing := make(chan error, 1)
	go func() {
		defer close(objects)
		for object := range r.client.ListObjects(ctx, r.bucket, minio.ListObjectsOptions{Recursive: true}) {
			if object.Err != nil {
				listing <- object.Err
				return
			}
			objects <- object
		}
		listing <- nil
	}()
	var failure error
	for failed := range r.client.RemoveObjects(ctx, r.bucket, objects, minio.RemoveObjectsOptions{}) {
		failure = errors.Join(failure, failed.Err)
	}
	return errors.Join(failure, <-listing)
}
