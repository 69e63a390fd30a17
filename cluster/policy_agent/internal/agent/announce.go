package agent

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"barberpro.platform/cluster/policy_agent/internal/policy"
)

// mirrorAnnotation marks the API server's copy of a static pod, whose UID is not the one that the runtime knows.
const mirrorAnnotation = "kubernetes.io/config.mirror"

// Announce tells the agent that a pod was given an address, before the pod's status shows it, and returns once its rules are
// in force. The CNI plugin calls it, so that a pod's first packet meets its rules: neither a gap nor a pod that has to wait.
// uid may be empty (an old runtime); then the name alone identifies the pod.
func (a *Agent) Announce(ctx context.Context, namespace, name string, uid types.UID, address netip.Addr) error {
	pod, err := a.waitForPod(ctx, namespace, name, uid)
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.announced[pod.UID] = address
	a.mu.Unlock()
	number := a.request()
	for {
		a.mu.Lock()
		done, progress := a.finished >= number, a.progress
		a.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return fmt.Errorf("pod %s/%s: %w", namespace, name, ErrNotReady)
		}
	}
}

// waitForPod waits until the informer has the pod: the kubelet may have heard of it some milliseconds earlier.
func (a *Agent) waitForPod(ctx context.Context, namespace, name string, uid types.UID) (*corev1.Pod, error) {
	for {
		pod, err := a.pods.Pods(namespace).Get(name)
		if err == nil && (uid == "" || pod.UID == uid || pod.Annotations[mirrorAnnotation] != "") {
			return pod, nil
		}
		if !sleep(ctx, 10*time.Millisecond) {
			return nil, fmt.Errorf("pod %s/%s with UID %q is not known to the API server: %w", namespace, name, uid, ErrNotReady)
		}
	}
}

// announcements returns a copy of what was announced so far.
func (a *Agent) announcements() map[types.UID]netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.announced)
}

// pendingAnnouncements returns the announced addresses that still matter and forgets the others: a pod that is gone or
// finished, or whose status shows the same address by now. The announcements are those from before the pods were listed;
// what was announced since is kept for the next synchronisation, whose list has its pod.
func (a *Agent) pendingAnnouncements(announced map[types.UID]netip.Addr, pods []*corev1.Pod) map[types.UID]netip.Addr {
	pending := map[types.UID]netip.Addr{}
	for _, pod := range pods {
		address, ok := announced[pod.UID]
		if !ok || !policy.Live(pod) {
			continue
		}
		if shown, known := policy.StatusAddress(pod); known && shown == address {
			continue
		}
		pending[pod.UID] = address
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for uid, address := range announced {
		if _, ok := pending[uid]; !ok && a.announced[uid] == address {
			delete(a.announced, uid)
		}
	}
	return pending
}
