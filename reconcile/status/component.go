package status

// Component is one LiveComponent of an app, as a dashboard on the host VM is
// told of it.
type Component struct {
	ID           string `json:"id"`
	Module       string `json:"module"` // 'Elixir.DemoUptimeWeb.StatsComponent'
	Title        string `json:"title,omitempty"`
	Description  string `json:"description,omitempty"`
	PubSub       string `json:"pubsub,omitempty"`
	Topic        string `json:"topic,omitempty"`
	UpdateAssign string `json:"update_assign,omitempty"`
	Published    bool   `json:"published"`         // the host VM's environment has it
	Loadable     bool   `json:"loadable"`          // the host VM can load Module
	Problem      string `json:"problem,omitempty"` // why one of the two is not so
}
