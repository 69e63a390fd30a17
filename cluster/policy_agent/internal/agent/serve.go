package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sort"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// announceTimeout bounds how long a pod's start waits for its rules.
const announceTimeout = 10 * time.Second

// Announcement is the body of POST /v1/pods on the agent's socket.
type Announcement struct {
	Namespace string     `json:"namespace"`
	Name      string     `json:"name"`
	UID       types.UID  `json:"uid"`
	Address   netip.Addr `json:"address"`
}

// Health answers 200 when the cluster's state is known and the last transaction succeeded.
func (a *Agent) Health(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	synced, err := a.synced, a.lastError
	a.mu.Unlock()
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case !synced:
		http.Error(w, "the cluster's state is not known yet", http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "ok")
	}
}

// Metrics answers in the Prometheus text format.
func (a *Agent) Metrics(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintln(w, "# HELP barberpro_policy_transactions_total Synchronisations of the nftables table by result.")
	fmt.Fprintln(w, "# TYPE barberpro_policy_transactions_total counter")
	results := make([]string, 0, len(a.applies))
	for result := range a.applies {
		results = append(results, result)
	}
	sort.Strings(results)
	for _, result := range results {
		fmt.Fprintf(w, "barberpro_policy_transactions_total{result=%q} %d\n", result, a.applies[result])
	}
}

func (a *Agent) announceHandler(w http.ResponseWriter, r *http.Request) {
	var body Announcement
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), announceTimeout)
	defer cancel()
	if err := a.Announce(ctx, body.Namespace, body.Name, body.UID, body.Address); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// ServeSocket answers the CNI plugin on a unix socket that only root may use, until the context ends.
func (a *Agent) ServeSocket(ctx context.Context, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/pods", a.announceHandler)
	return serve(ctx, listener, mux)
}

// ServeTCP answers one path on an address until the context ends.
func ServeTCP(ctx context.Context, address, path string, handler http.HandlerFunc) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+path, handler)
	return serve(ctx, listener, mux)
}

func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
