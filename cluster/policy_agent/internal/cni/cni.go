// Package cni is the plugin that stands last in the cluster's CNI chain: it announces a new pod's address to the agent and
// lets the pod start only when its rules are in force. It changes nothing itself.
package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"barberpro.platform/cluster/policy_agent/internal/agent"
)

// errorCode is the first code that the CNI specification leaves to plugins.
const errorCode = 100

// timeout is longer than the agent's own, so that its explanation is the one that is shown.
const timeout = 15 * time.Second

var versions = []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}

// config is the plugin's entry in the conflist, with what the runtime adds.
type config struct {
	Version  string          `json:"cniVersion"`
	Socket   string          `json:"socket"`
	Previous json.RawMessage `json:"prevResult"`
}

// Run serves one call of the runtime: environment lookup, the configuration on input, the answer on output. It returns the
// exit code.
func Run(getenv func(string) string, input io.Reader, output io.Writer) int {
	command := getenv("CNI_COMMAND")
	if command == "VERSION" {
		return answer(output, map[string]any{"cniVersion": "1.0.0", "supportedVersions": versions})
	}
	var c config
	if err := json.NewDecoder(input).Decode(&c); err != nil {
		return refuse(output, c.Version, fmt.Errorf("the configuration is not JSON: %w", err))
	}
	if command != "ADD" {
		return 0 // nothing to undo or to check: the agent forgets a pod with its object
	}
	if err := add(c, getenv("CNI_ARGS")); err != nil {
		return refuse(output, c.Version, err)
	}
	return answer(output, c.Previous)
}

func answer(output io.Writer, value any) int {
	if err := json.NewEncoder(output).Encode(value); err != nil {
		return 1
	}
	return 0
}

func refuse(output io.Writer, version string, err error) int {
	answer(output, map[string]any{"cniVersion": version, "code": errorCode, "msg": err.Error()})
	return 1
}

func add(c config, arguments string) error {
	if c.Socket == "" {
		return fmt.Errorf("the plugin's configuration names no socket of the policy agent")
	}
	address, err := podAddress(c.Previous)
	if err != nil {
		return err
	}
	pod := map[string]string{}
	for _, pair := range strings.Split(arguments, ";") {
		if key, value, ok := strings.Cut(pair, "="); ok {
			pod[key] = value
		}
	}
	body, err := json.Marshal(agent.Announcement{Namespace: pod["K8S_POD_NAMESPACE"], Name: pod["K8S_POD_NAME"],
		UID: types.UID(pod["K8S_POD_UID"]), Address: address})
	if err != nil {
		return err
	}
	return announce(c.Socket, body)
}

// podAddress reads the IPv4 address that the plugins before gave to the pod.
func podAddress(previous json.RawMessage) (netip.Addr, error) {
	var result struct {
		IPs []struct {
			Address string `json:"address"`
		} `json:"ips"`
	}
	if err := json.Unmarshal(previous, &result); err != nil {
		return netip.Addr{}, fmt.Errorf("the plugin must follow one that gives addresses: %w", err)
	}
	for _, ip := range result.IPs {
		if prefix, err := netip.ParsePrefix(ip.Address); err == nil && prefix.Addr().Is4() {
			return prefix.Addr(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("the plugins before gave the pod no IPv4 address")
}

func announce(socket string, body []byte) error {
	client := http.Client{Timeout: timeout, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}}
	response, err := client.Post("http://policy-agent/v1/pods", "application/json", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("the policy agent does not answer, so no pod can start: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1024))
		return fmt.Errorf("policy agent: %s", strings.TrimSpace(string(text)))
	}
	return nil
}
