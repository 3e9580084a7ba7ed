// The workloads of coir_bench as Go runs them, under the same names: go_bench [WORKLOAD...].
// Options of coir_bench are passed over: a goroutine cannot be given a processor.
package main

import (
	"fmt"
	"log"
	"math/rand"
	"os"
	"os/exec"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type workload struct {
	name    string
	run     func(suffix string)
	workers []int
}

var workloads = []workload{
	{"yield", yield, []int{1, 2}},
	{"spawn_join", spawnJoin, []int{1, 2}},
	{"spawn_many", spawnMany, []int{1, 2}},
	{"fork_join", forkJoin, []int{1, 2}},
	{"mutex", contend, []int{1, 2}},
	{"channel_ping_pong", pingPong, []int{1, 2}},
	{"channel_throughput", throughput, []int{1, 2}},
	{"skynet_channels", skynet, []int{1, 2}},
	{"wake", wake, []int{2}},
	{"sleepers", sleepers, []int{1, 2}},
	{"parked", parked, []int{1}},
}

// Each figure in a process of its own, as coir_bench has it: go_bench --here WORKLOAD WORKERS.
func main() {
	log.SetFlags(0)
	if len(os.Args) == 4 && os.Args[1] == "--here" {
		workers, _ := strconv.Atoi(os.Args[3])
		runtime.GOMAXPROCS(workers)
		for _, w := range workloads {
			if w.name == os.Args[2] {
				w.run("_t" + os.Args[3])
			}
		}
		return
	}
	wanted := map[string]bool{}
	for _, word := range os.Args[1:] {
		if !strings.HasPrefix(word, "--") {
			wanted[word] = true
		}
	}
	for _, w := range workloads {
		for _, n := range w.workers {
			if len(wanted) == 0 || wanted[w.name] {
				child := exec.Command("/proc/self/exe", "--here", w.name, strconv.Itoa(n))
				child.Stdout, child.Stderr = os.Stdout, os.Stderr
				if err := child.Run(); err != nil {
					log.Fatalf("go_bench: %s: %v", w.name, err)
				}
			}
		}
	}
}

func report(name string, value float64, unit string) { fmt.Printf("%s %.5g %s\n", name, value, unit) }

// Nanoseconds for each of `count` since `begin`.
func each(begin time.Time, count int) float64 {
	return float64(time.Since(begin).Nanoseconds()) / float64(count)
}

// As coir's own figures are named. Where the two run is the scheduler's choice.
func unlessOne(name, suffix string) string {
	if suffix == "_t1" {
		return name
	}
	return name + suffix
}

func usage() (cpu, peakBytes float64) {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)*1e-6 }
	return seconds(r.Utime) + seconds(r.Stime), float64(r.Maxrss) * 1024
}

func spawnAll(count int, f func()) {
	var all sync.WaitGroup
	all.Add(count)
	for i := 0; i < count; i++ {
		go func() {
			f()
			all.Done()
		}()
	}
	all.Wait()
}

func yield(suffix string) {
	for _, n := range []int{2, 200, 1000} {
		turns := 5_000_000 / n
		begin := time.Now()
		spawnAll(n, func() {
			for t := turns; t != 0; t-- {
				runtime.Gosched()
			}
		})
		report(fmt.Sprintf("yield_%d%s", n, suffix), each(begin, n*turns), "ns")
	}
}

func spawnJoin(suffix string) {
	const count = 2_000_000
	ended := make(chan struct{})
	begin := time.Now()
	for i := 0; i < count; i++ {
		go func() { ended <- struct{}{} }()
		<-ended
	}
	report("spawn_join"+suffix, each(begin, count), "ns")
}

func spawnMany(suffix string) {
	const count = 1_000_000
	for _, name := range []string{"spawn_many", "spawn_many_warm"} {
		begin := time.Now()
		spawnAll(count, func() {})
		report(name+suffix, each(begin, count), "ns")
	}
}

func fibonacci(n int) int {
	if n < 2 {
		return n
	}
	var larger int
	var child sync.WaitGroup
	child.Add(1)
	go func() {
		larger = fibonacci(n - 1)
		child.Done()
	}()
	smaller := fibonacci(n - 2)
	child.Wait()
	return larger + smaller
}

func forkJoin(suffix string) {
	begin := time.Now()
	if fibonacci(27) != 196_418 {
		log.Fatal("go_bench: fib(27) is wrong")
	}
	report("fork_join_fib27"+suffix, each(begin, 1_000_000), "ms")
}

func contend(suffix string) {
	const count, turns = 100, 10_000
	var mutex sync.Mutex
	counter := 0
	begin := time.Now()
	spawnAll(count, func() {
		for t := turns; t != 0; t-- {
			mutex.Lock()
			counter++
			runtime.Gosched()
			mutex.Unlock()
		}
	})
	report("mutex"+suffix, each(begin, count*turns), "ns")
	if counter != count*turns {
		log.Fatal("go_bench: the mutex let two in")
	}
}

func pingPong(suffix string) {
	const count = 1_000_000
	there, back := make(chan int), make(chan int)
	begin := time.Now()
	go func() {
		for i := 0; i < count; i++ {
			back <- <-there
		}
	}()
	for i := 0; i < count; i++ {
		there <- i
		<-back
	}
	report(unlessOne("channel_ping_pong", suffix), each(begin, count), "ns")
}

func throughput(suffix string) {
	const count = 10_000_000
	items := make(chan int, 128)
	begin := time.Now()
	go func() {
		for i := 0; i < count; i++ {
			items <- i
		}
	}()
	for i := 0; i < count; i++ {
		<-items
	}
	report(unlessOne("channel_throughput", suffix), each(begin, count), "ns")
}

func tree(parent chan<- int, first, leaves int) {
	if leaves == 1 {
		parent <- first
		return
	}
	children := make(chan int)
	for i := 0; i < 10; i++ {
		go tree(children, first+i*(leaves/10), leaves/10)
	}
	sum := 0
	for i := 0; i < 10; i++ {
		sum += <-children
	}
	parent <- sum
}

func skynet(suffix string) {
	begin := time.Now()
	root := make(chan int)
	go tree(root, 0, 1_000_000)
	if <-root != 499_999_500_000 {
		log.Fatal("go_bench: the tree's sum is wrong")
	}
	report("skynet_channels"+suffix, each(begin, 1_000_000), "ms")
}

func wake(string) {
	const count = 20_000
	var sent, received atomic.Int64
	latency := make([]int64, count)
	items := make(chan struct{}, 1)
	origin := time.Now()
	go func() {
		for i := range latency {
			<-items
			latency[i] = int64(time.Since(origin)) - sent.Load()
			received.Store(int64(i + 1))
		}
	}()
	for i := 0; i < count; i++ {
		for t := time.Now(); time.Since(t) < 30*time.Microsecond; {
		}
		sent.Store(int64(time.Since(origin)))
		items <- struct{}{}
		for received.Load() != int64(i+1) {
		}
	}
	sort.Slice(latency, func(i, j int) bool { return latency[i] < latency[j] })
	report("wake_default_p50", float64(latency[count/2])/1000, "us")
	report("wake_default_p99", float64(latency[count*99/100])/1000, "us")
}

func sleepers(suffix string) {
	const count = 1_000_000
	var all sync.WaitGroup
	all.Add(count)
	chance := rand.New(rand.NewSource(1))
	before, _ := usage()
	begin := time.Now()
	for i := 0; i < count; i++ {
		d := time.Duration(chance.Intn(1_000_000)) * time.Microsecond
		go func() {
			time.Sleep(d)
			all.Done()
		}()
	}
	all.Wait()
	after, peak := usage()
	report("sleepers_wall"+suffix, time.Since(begin).Seconds(), "s")
	report("sleepers_cpu"+suffix, after-before, "s")
	report("sleepers_peak_memory"+suffix, peak/(1<<20), "MiB")
}

func parked(string) {
	const count = 1_000_000
	_, before := usage()
	var running atomic.Int64
	end := make(chan struct{})
	begin := time.Now()
	for i := 0; i < count; i++ {
		go func() {
			running.Add(1)
			<-end
		}()
	}
	for running.Load() < count {
		runtime.Gosched()
	}
	_, peak := usage()
	report("parked_default_bytes", (peak-before)/count, "B")
	report("parked_default_create", time.Since(begin).Seconds(), "s")
	close(end)
}
