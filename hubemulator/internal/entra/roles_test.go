package entra_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/entra"
)

func TestBuiltInRoles(t *testing.T) {
	t.Parallel()
	reads := []entra.Action{entra.DevicesRead, entra.TwinsRead, entra.JobsRead, entra.StatisticsRead, entra.ConfigurationsRead}
	writes := []entra.Action{
		entra.DevicesWrite, entra.DevicesDelete, entra.TwinsWrite, entra.JobsWrite, entra.JobsDelete,
		entra.CommandsSend, entra.CommandsFeedback, entra.CommandsPurge, entra.MethodsInvoke,
		entra.ConfigurationsWrite, entra.ConfigurationsDelete, entra.ConfigurationsApplyToEdge, entra.ConfigurationsTestQueries,
	}
	all := append(append([]entra.Action{entra.UploadNotifications}, reads...), writes...)
	for role, granted := range map[string][]entra.Action{
		"IoT Hub Data Contributor":          all,
		"IoT Hub Data Reader":               append([]entra.Action{entra.UploadNotifications}, reads...),
		"IoT Hub Registry Contributor":      {entra.DevicesRead, entra.DevicesWrite, entra.DevicesDelete},
		"IoT Hub Twin Contributor":          {entra.TwinsRead, entra.TwinsWrite},
		"iot hub twin contributor":          {entra.TwinsRead, entra.TwinsWrite},
		"Owner":                             nil,
		"Contributor":                       nil,
		"Reader":                            nil,
		"Microsoft.Devices/IotHubs/*":       all,
		"microsoft.devices/iothubs/*/READ":  reads,
		"Microsoft.Devices/IotHubs/twins/*": {entra.TwinsRead, entra.TwinsWrite},
		string(entra.DevicesDelete):         {entra.DevicesDelete},
	} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			roles, err := entra.NewRoles(map[string][]string{"p1": {role}})
			g.Expect(err).NotTo(HaveOccurred())
			var found []entra.Action
			for _, action := range append(all, entra.SASOnly, "") {
				if roles.Grant([]string{"p1"}, action) {
					found = append(found, action)
				}
				g.Expect(roles.Grant([]string{"p2"}, action)).To(BeFalse(), "another principal's role")
			}
			g.Expect(found).To(ConsistOf(granted))
		})
	}
}

func TestGrants(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	roles, err := entra.NewRoles(map[string][]string{
		"Object-1": {string(entra.DevicesWrite)},
		"app-1":    {string(entra.DevicesDelete), "IoT Hub Twin Contributor"},
	})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(roles.Grant([]string{"OBJECT-1"}, entra.DevicesWrite)).To(BeTrue(), "ids are no matter of case")
	g.Expect(roles.Grant([]string{"object-1"}, entra.DevicesWrite, entra.DevicesDelete)).To(BeFalse(), "all are needed")
	g.Expect(roles.Grant([]string{"object-1", "app-1"}, entra.DevicesWrite, entra.DevicesDelete, entra.TwinsRead)).To(BeTrue(), "the roles of either id")
	g.Expect(roles.Grant([]string{"object-1"})).To(BeFalse(), "an operation that needs nothing is open to no principal")
	g.Expect(roles.Grant(nil, entra.DevicesWrite)).To(BeFalse())
	g.Expect(entra.Roles{}.Grant([]string{"object-1"}, entra.DevicesWrite)).To(BeFalse())
}

func TestRefusedRoles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ principal, role, says string }{
		{"p1", "IoT Hub Twin Owner", `the role of principal "p1": "IoT Hub Twin Owner" should be a built-in role (IoT Hub Data Contributor,`},
		{"p1", "", `"" should be a built-in role`},
		{"p1", "Microsoft.Devices/IotHubs/twin/read", "or a data action of IoT Hub"},
		{"p1", string(entra.SASOnly), "or a data action of IoT Hub"},
		{" ", "Owner", "not to an empty one"},
	} {
		_, err := entra.NewRoles(map[string][]string{tt.principal: {tt.role}})
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring(tt.says)))
	}
}
