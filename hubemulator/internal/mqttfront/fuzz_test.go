package mqttfront

import (
	"strings"
	"testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// FuzzTopic: whatever a client names, it is understood as its own or as
// foreign, and what is echoed later is what was received.
func FuzzTopic(f *testing.F) {
	for _, name := range []string{
		"$iothub/twin/GET/?$rid=1", "$iothub/twin/GET/?", "$iothub/twin/GET/?$rid=%2f&$rid=2",
		"$iothub/twin/PATCH/properties/reported/?$rid=a&$version=3", "$iothub/twin/PATCH/properties/reported/?$version",
		"$iothub/methods/res/200/?$rid=1", "$iothub/methods/res/-1/?$rid=", "$iothub/methods/res/?$rid=1",
		"devices/d1/messages/events", "devices/d1/messages/events/%24.mid=1&a", "devices/%641/messages/events/", "devices/%zz/messages/events/",
		"devices/d1/modules/m1/messages/events/", "devices//modules//messages/events", "devices/d1/messages/devicebound/#", "",
	} {
		f.Add("d1", "", name)
		f.Add("d1", "m1", name)
	}
	f.Add("a?&b", "", "devices/a?&b/messages/events/")
	f.Fuzz(func(t *testing.T, device, module, name string) {
		id := store.ID{Device: device, Module: module}
		parsed := parseTopic(id, name)
		switch parsed.kind {
		case topicForeign:
			if parsed != (topic{}) {
				t.Errorf("a foreign topic has content: %+v", parsed)
			}
		case topicTelemetry:
			if !strings.HasPrefix(name, "devices/") || !strings.Contains(name, "/messages/events") {
				t.Errorf("%q is no telemetry", name)
			}
			if module == "" && strings.Count(strings.SplitN(name, "/messages/events", 2)[0], "/") != 1 {
				t.Errorf("%q is not of a device", name)
			}
		default:
			if !strings.Contains(name, "$rid="+parsed.requestID) {
				t.Errorf("%q has no request id %q", name, parsed.requestID)
			}
			if parsed.hasVersion && !strings.Contains(name, "$version"+map[bool]string{true: "=", false: ""}[parsed.version != ""]+parsed.version) {
				t.Errorf("%q has no version %q", name, parsed.version)
			}
		}
		if checkSubscription(id, name, map[string]bool{}) == nil && !strings.HasSuffix(name, "#") {
			t.Errorf("%q was granted", name)
		}
	})
}

// FuzzUserName: a user name that is understood names the client, and no more.
func FuzzUserName(f *testing.F) {
	for _, seed := range [][2]string{
		{"localhost/d1/?api-version=2021-04-12", "d1"}, {"localhost:8443/d1/api-version=2020-09-30&x=%zz", "d1"},
		{"localhost/d1/m1/?api-version=2021-04-12", "d1/m1"}, {"localhost/d1", "d1"}, {"/d1//", "d1/"}, {"", ""}, {"[::1]:1/a?&b/?api-version=", "a?&b"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, clientID string) {
		user, err := parseUserName(text, clientID)
		if err != nil {
			return
		}
		want := user.id.Device
		if user.id.Module != "" {
			want += "/" + user.id.Module
		}
		if want != clientID || user.id.Device == "" || !strings.Contains(text, "/"+clientID) {
			t.Errorf("%q as %q was taken for %+v", text, clientID, user.id)
		}
		if user.apiVersion != "" && !apiVersionPattern.MatchString(user.apiVersion) {
			t.Errorf("the version %q is none", user.apiVersion)
		}
	})
}
