// Package agent keeps the table in step with the cluster.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"

	"barberpro.platform/cluster/policy_agent/internal/nft"
	"barberpro.platform/cluster/policy_agent/internal/policy"
)

const (
	// gather is how long a burst of events is collected into one transaction.
	gather = 10 * time.Millisecond
	// verifyEvery is how often the agent looks whether somebody removed its table.
	verifyEvery = 10 * time.Second
	// retryAfter is the pause after a transaction that failed.
	retryAfter = time.Second
)

// Agent translates what its informers see and applies it. Create it with New, run it with Run.
type Agent struct {
	podCIDR netip.Prefix
	table   *nft.Table
	log     *slog.Logger

	factory    informers.SharedInformerFactory
	pods       corelisters.PodLister
	namespaces corelisters.NamespaceLister
	policies   networkinglisters.NetworkPolicyLister
	compiled   map[types.UID]compiledPolicy

	dirty chan struct{}

	mu        sync.Mutex
	announced map[types.UID]netip.Addr
	requested uint64        // number of the newest request for a synchronisation
	finished  uint64        // every request up to this number is in force
	progress  chan struct{} // closed and replaced when finished grows
	synced    bool
	lastError error
	applies   map[string]uint64
}

type compiledPolicy struct {
	version string
	policy  policy.Policy
}

// New wires an agent; nothing happens before Run.
func New(client kubernetes.Interface, podCIDR netip.Prefix, table *nft.Table, log *slog.Logger) (*Agent, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(trim))
	a := &Agent{
		podCIDR: podCIDR, table: table, log: log, factory: factory,
		pods:       factory.Core().V1().Pods().Lister(),
		namespaces: factory.Core().V1().Namespaces().Lister(),
		policies:   factory.Networking().V1().NetworkPolicies().Lister(),
		compiled:   map[types.UID]compiledPolicy{},
		dirty:      make(chan struct{}, 1),
		announced:  map[types.UID]netip.Addr{},
		progress:   make(chan struct{}),
		applies:    map[string]uint64{},
	}
	for _, informer := range []cache.SharedIndexInformer{
		factory.Core().V1().Pods().Informer(),
		factory.Core().V1().Namespaces().Informer(),
		factory.Networking().V1().NetworkPolicies().Informer(),
	} {
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { a.request() },
			UpdateFunc: func(any, any) { a.request() },
			DeleteFunc: func(any) { a.request() },
		})
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

// trim drops what the translation never reads, which is most of a pod.
func trim(object any) (any, error) {
	if pod, ok := object.(*corev1.Pod); ok {
		pod.ManagedFields = nil
		pod.Spec.Volumes = nil
		pod.Status.Conditions, pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses = nil, nil, nil
		for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
			for i := range containers {
				containers[i] = corev1.Container{Ports: containers[i].Ports, RestartPolicy: containers[i].RestartPolicy}
			}
		}
	}
	return object, nil
}

// Run keeps the table in step until the context ends. The table stays in the kernel then: a restart opens no gap. A table
// that a former agent left is not touched before everything is known; where there is none, one that knows no pod (and so
// cuts all of them off) is put first.
func (a *Agent) Run(ctx context.Context) error {
	if !a.table.Exists(ctx, policy.ForwardChain) {
		if _, err := a.table.Apply(ctx, policy.Translate(a.podCIDR, policy.Inputs{})); err != nil {
			return err
		}
		a.log.Info("no table of a former run: pods are cut off until the cluster's state is known", "table", a.table.Name)
	}
	a.factory.Start(ctx.Done())
	for kind, ok := range a.factory.WaitForCacheSync(ctx.Done()) {
		if !ok {
			return fmt.Errorf("stopped before the list of %v arrived", kind)
		}
	}
	a.table.Forget() // whatever a former agent left is replaced, not amended
	a.request()
	ticker := time.NewTicker(verifyEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if a.table.Exists(ctx, policy.ForwardChain) || ctx.Err() != nil {
				continue
			}
			a.log.Warn("somebody removed the table: it is put back", "table", a.table.Name)
			a.table.Forget()
		case <-a.dirty:
			if !sleep(ctx, gather) {
				return nil
			}
		}
		if err := a.synchronise(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("the rules were not applied", "error", err, "retry_after", retryAfter)
			if !sleep(ctx, retryAfter) {
				return nil
			}
			a.poke()
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// poke wakes the loop.
func (a *Agent) poke() {
	select {
	case a.dirty <- struct{}{}:
	default:
	}
}

// request asks for a synchronisation and returns its number.
func (a *Agent) request() uint64 {
	a.mu.Lock()
	a.requested++
	number := a.requested
	a.mu.Unlock()
	a.poke()
	return number
}

func (a *Agent) synchronise(ctx context.Context) error {
	started := time.Now()
	a.mu.Lock()
	number := a.requested
	a.mu.Unlock()
	inputs, err := a.inputs()
	action := ""
	if err == nil {
		wanted := policy.Translate(a.podCIDR, inputs)
		action, err = a.table.Apply(ctx, wanted)
		if err == nil && action != "unchanged" {
			a.log.Info("rules "+action, "table", a.table.Name, "policies", len(inputs.Policies), "pods", len(inputs.Pods),
				"namespaces", len(inputs.Namespaces), "content", wanted.Counts(), "took", time.Since(started).Round(time.Millisecond))
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lastError = err
	if err != nil {
		a.applies["failed"]++
		return err
	}
	a.applies[action]++
	a.synced = true
	a.finished = number
	close(a.progress)
	a.progress = make(chan struct{})
	return nil
}

// inputs reads the informers' caches.
func (a *Agent) inputs() (policy.Inputs, error) {
	announced := a.announcements() // before the pods: one that is announced from here on may not be in their list
	pods, err := a.pods.List(labels.Everything())
	if err != nil {
		return policy.Inputs{}, err
	}
	namespaces, err := a.namespaces.List(labels.Everything())
	if err != nil {
		return policy.Inputs{}, err
	}
	objects, err := a.policies.List(labels.Everything())
	if err != nil {
		return policy.Inputs{}, err
	}
	in := policy.Inputs{Pods: pods, Namespaces: map[string]labels.Set{}, Announced: a.pendingAnnouncements(announced, pods)}
	for _, n := range namespaces {
		in.Namespaces[n.Name] = n.Labels
	}
	in.Policies = a.compile(objects)
	return in, nil
}

// compile reads policies that are new or changed; the others are remembered.
func (a *Agent) compile(objects []*networkingv1.NetworkPolicy) []policy.Policy {
	seen := make(map[types.UID]compiledPolicy, len(objects))
	list := make([]policy.Policy, 0, len(objects))
	for _, object := range objects {
		known, ok := a.compiled[object.UID]
		if !ok || known.version != object.ResourceVersion {
			compiled, err := policy.Compile(object)
			if err != nil {
				a.log.Error("a policy cannot be read: its namespace is closed until it is corrected", "error", err)
				compiled = policy.DenyAll(object)
			}
			known = compiledPolicy{version: object.ResourceVersion, policy: compiled}
		}
		seen[object.UID] = known
		list = append(list, known.policy)
	}
	a.compiled = seen
	return list
}

// ErrNotReady is the answer to an announcement that was not in force in time.
var ErrNotReady = errors.New("the rules of the pod are not in force yet")
